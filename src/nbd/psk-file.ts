import { AppError } from '../base/errors.js';

/**
 * Pre-shared keys as GnuTLS's psktool writes them: lines of `user:hexkey`; empty lines and lines that begin with #
 * are skipped. Throws AppError 'invalid' with the number of the bad line, never its text (it is a secret).
 */
export function parsePskFile(text: string): Map<string, Buffer> {
  const keys = new Map<string, Buffer>();
  text.split('\n').forEach((raw, index) => {
    const line = raw.trim();
    if (line === '' || line.startsWith('#')) return;
    const colon = line.lastIndexOf(':');
    const user = line.slice(0, colon);
    const hex = line.slice(colon + 1);
    if (colon <= 0 || hex.length < 2 || hex.length % 2 !== 0 || !/^[0-9a-f]+$/i.test(hex)) {
      throw new AppError('invalid', `pre-shared keys: line ${index + 1} is not user:hexkey`);
    }
    keys.set(user, Buffer.from(hex, 'hex'));
  });
  if (keys.size === 0) throw new AppError('invalid', 'pre-shared keys: no key in the file');
  return keys;
}
