"""OpenAI's image API, as called by its SDKs and other programs.

https://platform.openai.com/docs/api-reference/images. It is lenient: unknown parameters are ignored
and listed in a header, and other servers' names of our parameters are accepted.
"""
