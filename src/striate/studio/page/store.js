// What a view and its host share: named values, in the form of anywidget's model.

/**
 * @typedef {object} Model
 * @property {(name: string) => any} get
 * @property {(name: string, value: any) => void} set
 * @property {(event: string, listener: () => void) => void} on    event is "change:name"
 * @property {(event: string, listener: () => void) => void} off
 * @property {() => void} save_changes                             tells the host of what was set
 */

/**
 * A Model without a notebook behind it.
 * @param {Record<string, any>} values
 * @returns {Model}
 */
export function store(values) {
  /** @type {Map<string, Set<() => void>>} */
  const listeners = new Map();
  return {
    get: (name) => values[name],
    set(name, value) {
      values[name] = value;
      for (const listener of [...(listeners.get(`change:${name}`) ?? [])]) listener();
    },
    on(event, listener) {
      if (!listeners.has(event)) listeners.set(event, new Set());
      listeners.get(event)?.add(listener);
    },
    off: (event, listener) => listeners.get(event)?.delete(listener),
    save_changes() {},
  };
}
