"""OpenAI's image API, as its SDKs and the programs built on them call it.

https://platform.openai.com/docs/api-reference/images. Lenient: unknown parameters are ignored and
named in a header, the names that other servers have for ours are known.
"""
