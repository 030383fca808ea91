// Questions to the studio's server.

/** An answer that is an error: the library's own text. */
export const Refused = class extends Error {};

/**
 * @param {string} question                    "trace"
 * @param {Record<string, any>} [values]       its parameters
 * @param {BodyInit | null} [body]             then it is a POST
 */
export async function ask(question, values = {}, body = null) {
  const query = new URLSearchParams(
    Object.entries(values)
      .filter(([, value]) => value !== null && value !== undefined)
      .map(([k, v]) => [k, String(v)]),
  );
  const headers = { "Accept-Language": document.documentElement.lang };
  const sent = body === null ? { headers } : { headers, method: "POST", body };
  const answer = await fetch(`api/${question}?${query}`, sent);
  const content = await answer.json();
  if (!answer.ok) throw new Refused(content.text ?? JSON.stringify(content));
  return content;
}

/**
 * An answer that is no JSON.
 * @param {string} question
 * @param {Record<string, any>} values
 * @returns {Promise<ArrayBuffer>}
 */
export async function fetchBytes(question, values) {
  const answer = await fetch(`api/${question}?${new URLSearchParams(values)}`);
  if (!answer.ok) throw new Refused((await answer.json()).text);
  return answer.arrayBuffer();
}
