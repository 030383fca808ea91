// The stored traces of every value of a net, taken apart: only look-ups. See striate/studio/traces.py.

import { unpacked } from "./unpack.js";
import { address, written } from "./numbers.js";

/**
 * @param {any} data                                   what `traces.every` gave
 * @param {{path: string, shape: number[]}[]} layers
 * @param {Float32Array} values                        of all maps
 * @returns {Promise<(at: string) => any>}             an address -> the trace, as the library's JSON
 */
export async function stored(data, layers, values) {
  const names = ["form", "step", "places", "lead", "up", "group", "at", "weight", "note", "unit"];
  /** @type {Record<string, Int32Array>} */
  const n = {};
  for (const name of names) n[name] = await unpacked(data[name], Int32Array);
  for (const name of ["at", "weight"]) for (let i = 1; i < n[name].length; i++) n[name][i] += n[name][i - 1];
  const computed = await unpacked(data.computed, Float64Array);
  const shown = new TextDecoder().decode(await unpacked(data.shown, Uint8Array)).split("\n");
  const weights = data.weights ? await unpacked(data.weights, Float32Array) : new Float32Array();
  const maps = numbering(layers.map(({ path, shape }) => [path, shape]));
  const tensors = numbering(data.tensors);
  const firstGroup = new Int32Array(data.count + 1);
  const firstTerm = new Int32Array(data.count + 1);
  for (let i = 0; i < data.count; i++) {
    const groups = data.forms[n.form[i]][5];
    firstGroup[i + 1] = firstGroup[i] + groups.length;
    firstTerm[i + 1] = firstTerm[i] + groups.reduce((/** @type {number} */ sum, /** @type {any} */ g) => sum + g[2], 0);
  }

  /** @param {number} i  of a term; @param {number} places */
  function term(i, places) {
    const [at, weight] = [n.at[i], n.weight[i]];
    const text = written(n.unit[i], places);
    const w = weight < 0 ? null : weights[weight];
    const note = data.notes[n.note[i]];
    const x = at >= 0 ? values[at] : w !== null ? w : note === "padding" ? 0 : Number(text);
    return {
      at: at < 0 ? null : maps.at(at),
      x,
      weight: w,
      weight_at: w === null ? null : tensors.at(weight),
      note,
      value: Number(text),
      shown: text,
    };
  }

  return (at) => {
    const i = maps.of(at);
    const [layer, rule, op, , checked_by, groups] = data.forms[n.form[i]];
    const places = n.places[i];
    let next = firstTerm[i];
    return {
      address: at,
      layer,
      rule,
      op,
      checked_by,
      value: values[i],
      computed: computed[i],
      shown: shown[i],
      groups: groups
        .map((/** @type {any[]} */ [name, grid, count]) => {
          const terms = Array.from({ length: count }, () => term(next++, places));
          return { name, grid, terms };
        })
        .map((/** @type {any} */ group, /** @type {number} */ k) => {
          const text = written(n.group[firstGroup[i] + k], places);
          return { ...group, shown: text, value: Number(text) };
        }),
      steps: data.steps[n.step[i]].map((/** @type {any[]} */ [name, text, exact, result]) => ({
        name,
        text,
        exact,
        shown: result,
      })),
      lead: n.lead[i] < 0 ? null : maps.at(n.lead[i]),
      up: n.up[i] < 0 ? null : maps.at(n.up[i]),
    };
  };
}

/**
 * Numbers for the values of many arrays, one after the other.
 * @param {[string, number[]][]} shapes
 */
function numbering(shapes) {
  const firsts = [0];
  for (const [, shape] of shapes) firsts.push(firsts[firsts.length - 1] + shape.reduce((a, b) => a * b, 1));
  return {
    /** @param {number} number */
    at(number) {
      let k = 0;
      while (firsts[k + 1] <= number) k++;
      const [path, shape] = shapes[k];
      let rest = number - firsts[k];
      const index = [...shape].reverse().map((size) => {
        const place = rest % size;
        rest = (rest - place) / size;
        return place;
      });
      return address(path, index.reverse());
    },
    /** @param {string} text */
    of(text) {
      const k = shapes.findIndex(([path]) => text.startsWith(`${path}[`));
      const index = text
        .slice(shapes[k][0].length + 1, -1)
        .split(",")
        .map(Number);
      return firsts[k] + index.reduce((place, i, axis) => place * shapes[k][1][axis] + i, 0);
    },
  };
}
