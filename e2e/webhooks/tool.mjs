// What programs of others say: a line of JSON in, a line of JSON out.
import { createInterface } from "node:readline";
import { Webhook } from "standardwebhooks";
import { Webhooks } from "@octokit/webhooks";
import examples from "@octokit/webhooks-examples" with { type: "json" };

const answers = {
  // whether a delivery is what the standard's own library takes
  verify({ secret, headers, body }) {
    try {
      new Webhook(secret).verify(Buffer.from(body, "base64").toString("utf8"), headers);
      return { ok: true };
    } catch (e) {
      return { ok: false, why: String(e.message) };
    }
  },
  // the signature that GitHub's own library makes, and that it takes
  async sign({ secret, body }) {
    const github = new Webhooks({ secret });
    const text = Buffer.from(body, "base64").toString("utf8");
    const signature = await github.sign(text);
    return { signature, ok: await github.verify(text, signature) };
  },
  // payloads as GitHub sends them
  examples({ events }) {
    return examples
      .filter((e) => events.includes(e.name))
      .flatMap((e) => e.examples.map((payload) => ({ event: e.name, body: JSON.stringify(payload) })));
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const { ask, ...rest } = JSON.parse(line);
  process.stdout.write(JSON.stringify(await answers[ask](rest)) + "\n");
}
