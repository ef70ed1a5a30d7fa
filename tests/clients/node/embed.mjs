// Asks for vectors as OpenAI's Node SDK does, and prints them as JSON.
// Usage: node embed.mjs BASE_URL KEY, with {"model", "input", "more"} on standard input.
import OpenAI from "openai";

let asked = "";
for await (const part of process.stdin) asked += part;
const { model, input, more } = JSON.parse(asked);
const client = new OpenAI({ baseURL: process.argv[2], apiKey: process.argv[3] });
try {
  const told = await client.embeddings.create({ model, input, ...more });
  console.log(JSON.stringify({ vectors: told.data.map((each) => each.embedding), usage: told.usage }));
} catch (error) {
  console.log(JSON.stringify({ error: error.constructor.name, status: error.status, param: error.param }));
}
