// Bytes that Python wrote as printable ASCII (browser/payload.py): two characters hold 13 bits.

const ALPHABET = Array.from({ length: 95 }, (_, i) => 32 + i).filter(
  (code) => !'"\\<&'.includes(String.fromCharCode(code)),
);
const GROUP = 13;

/** The first `length` bytes that a text holds. */
export function readFromText(text, length) {
  const digit = new Uint8Array(128);
  ALPHABET.forEach((code, i) => (digit[code] = i));
  const bytes = new Uint8Array(length);
  for (let at = 0, place = 0, held = 0, bits = 0; place < length; at += 2) {
    held =
      ((held << GROUP) | (digit[text.charCodeAt(at)] * ALPHABET.length + digit[text.charCodeAt(at + 1)])) & 0xfffff;
    bits += GROUP;
    while (bits >= 8 && place < length) {
      bits -= 8;
      bytes[place++] = held >> bits;
    }
  }
  return bytes;
}
