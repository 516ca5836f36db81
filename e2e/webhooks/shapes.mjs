// The shapes of GitHub's webhooks: as GitHub describes them itself ("now"), and as those who wrote
// its library described what they saw ("seen"), which demands and allows other things.
import Ajv from "ajv";
import Ajv2020 from "ajv/dist/2020.js";
import formats from "ajv-formats";
import described from "@octokit/openapi-webhooks/generated/api.github.com.json" with { type: "json" };
import seen from "@octokit/webhooks-schemas" with { type: "json" };

// both use formats and keywords of their own, which say nothing about what is valid
const lenient = { strict: false, validateSchema: false, logger: false };

const sources = {
  now: source(new Ajv2020(lenient), { components: described.components }, (event, action) => {
    const hook = described.webhooks[`${event}-${action}`.replaceAll("_", "-")];
    return hook?.post.requestBody.content["application/json"].schema.$ref;
  }),
  seen: source(new Ajv(lenient), { definitions: seen.definitions }, (event, action) => {
    const name = `${event}$${action}`;
    return seen.definitions[name] && `#/definitions/${name}`;
  }),
};

function source(ajv, document, find) {
  formats(ajv);
  ajv.addSchema(document, "shapes");
  return { ajv, document, find };
}

// shape is the shape of an event; undefined: it is not described there
export function shape(of, event, action) {
  const { ajv, document, find } = sources[of];
  const ref = find(event, action);
  if (!ref) return undefined;
  const valid = ajv.getSchema(`shapes${ref}`);
  return { valid, why: () => ajv.errorsText(valid.errors), schemas: parts({ $ref: ref }, document) };
}

// parts are the schemas of which one is made: what it refers to, and all alternatives
function parts(schema, document) {
  if (schema.$ref) {
    return parts(schema.$ref.slice(2).split("/").reduce((at, name) => at[name], document), document);
  }
  const more = [...(schema.allOf ?? []), ...(schema.anyOf ?? []), ...(schema.oneOf ?? [])];
  return [{ ...schema, document }, ...more.flatMap((s) => parts(s, document))];
}

const inner = (schemas, pick) => schemas.flatMap((s) => (pick(s) ? parts(pick(s), s.document) : []));

// members are the paths of what is in a payload, and of what its schema names beside
function* members(value, schemas, at = []) {
  if (Array.isArray(value)) {
    for (const i of value.keys()) yield* members(value[i], inner(schemas, (s) => s.items), [...at, i]);
  } else if (value && typeof value === "object") {
    const names = new Set([...Object.keys(value), ...schemas.flatMap((s) => Object.keys(s.properties ?? {}))]);
    for (const name of names) {
      yield [...at, name];
      yield* members(value[name], inner(schemas, (s) => s.properties?.[name]), [...at, name]);
    }
  }
}

const parent = (payload, path) => path.slice(0, -1).reduce((at, name) => at?.[name], payload);
const changes = {
  null(payload, path) {
    const to = parent(payload, path);
    if (to) to[path.at(-1)] = null;
  },
  "left out"(payload, path) {
    delete parent(payload, path)?.[path.at(-1)];
  },
};

// variants are a payload with each member null that may be null, with each left out that may be
// left out, and with as many as possible at once; none, if it does not have the shape itself
export function variants({ valid, schemas }, payload) {
  if (!valid(payload)) return [];
  const all = [{ what: "as it is", payload }];
  for (const [how, change] of Object.entries(changes)) {
    const most = structuredClone(payload);
    for (const path of members(payload, schemas)) {
      const one = structuredClone(payload);
      change(one, path);
      if (!valid(one) || JSON.stringify(one) === JSON.stringify(payload)) continue;
      all.push({ what: `${path.join(".")} ${how}`, payload: one });
      const more = structuredClone(most);
      change(more, path);
      if (valid(more)) Object.assign(most, more);
    }
    all.push({ what: `all ${how}`, payload: most });
  }
  return all;
}
