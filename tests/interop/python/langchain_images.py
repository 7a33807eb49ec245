"""LangChain's image tool. Usage: langchain_images.py http://HOST:PORT"""

import sys
from urllib.request import urlopen

from langchain_community.tools.openai_dalle_image_generation import OpenAIDALLEImageGenerationTool
from langchain_community.utilities.dalle_image_generator import DallEAPIWrapper

wrapper = DallEAPIWrapper(base_url=f"{sys.argv[1]}/v1", api_key="unused", n=2, size="64x64")
tool = OpenAIDALLEImageGenerationTool(api_wrapper=wrapper)
addresses = tool.invoke("a fox").split("\n")
assert len(addresses) == 2, addresses
for address in addresses:
    with urlopen(address) as answer:
        assert answer.read(4) == b"\x89PNG"
print("ok run")
