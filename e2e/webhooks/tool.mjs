// What programs of others say: a line of JSON in, a line of JSON out.
import { createInterface } from "node:readline";
import { Webhook } from "standardwebhooks";
import { Webhooks } from "@octokit/webhooks";
import examples from "@octokit/webhooks-examples" with { type: "json" };
import { shape, variants } from "./shapes.mjs";

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
  // whether a payload has the shape that GitHub describes
  shaped({ of, event, action, body }) {
    const at = shape(of, event, action);
    if (!at) return { ok: false, why: "this event is not described" };
    return { ok: at.valid(JSON.parse(Buffer.from(body, "base64"))), why: at.why() };
  },
  // what else of the same shape could come, signed; nothing: the payload does not have it
  async variants({ of, secret, event, action, body }) {
    const at = shape(of, event, action);
    const github = new Webhooks({ secret });
    const all = at ? variants(at, JSON.parse(Buffer.from(body, "base64"))) : [];
    return Promise.all(all.map(async ({ what, payload }) => {
      const text = JSON.stringify(payload);
      return { what, body: text, signature: await github.sign(text) };
    }));
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
