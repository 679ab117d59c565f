"""Ask a service with OpenAI's own client, in an environment that has it: URL, token and model → vectors as JSON."""

import json
import sys

from openai import OpenAI

url, token, model, texts, ids = sys.argv[1:]
client = OpenAI(base_url=f"{url}/v1", api_key=token)
answers = [
    client.embeddings.create(model=model, input=json.loads(texts)),
    client.embeddings.create(model=model, input=json.loads(texts), encoding_format="float"),
    client.embeddings.create(model=model, input=json.loads(texts)[0]),
    client.embeddings.create(model=model, input=json.loads(ids)),
]
vectors = [[entry.embedding for entry in answer.data] for answer in answers]
print(json.dumps({"vectors": vectors, "tokens": [answer.usage.total_tokens for answer in answers]}))
