/** Objects that may differ from the other replicas', kept in the sealed file `suspects`: one oid per line. */
import type { Disk } from './disk.js';
import { readSmall, replaceSmall, sealText, unsealText } from './small-file.js';

export const SUSPECTS_PATH = 'suspects';

export function encodeSuspects(oids: Iterable<bigint>): Buffer {
  let text = '';
  for (const oid of oids) text += `${oid.toString(16).padStart(16, '0')}\n`;
  return sealText(text);
}

/** Undefined when the file is damaged: then nobody knows, and every object is suspect. */
export function readSuspects(disk: Disk): Set<bigint> | undefined {
  const bytes = readSmall(disk, SUSPECTS_PATH);
  if (!bytes) return new Set();
  const text = unsealText(bytes);
  if (text === undefined) return undefined;
  return new Set(
    text
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => BigInt(`0x${line}`)),
  );
}

export class Suspects {
  readonly oids: Set<bigint>;
  private saving: Promise<void> = Promise.resolve();

  constructor(
    private readonly disk: Disk,
    oids: Set<bigint>,
  ) {
    this.oids = oids;
  }

  clear(oids: readonly bigint[]): Promise<void> {
    let changed = false;
    for (const oid of oids) changed = this.oids.delete(oid) || changed;
    return changed ? this.save() : this.saving;
  }

  /** One save after the other: they use the same file name. */
  save(): Promise<void> {
    const saved = this.saving
      .catch(() => {})
      .then(() => replaceSmall(this.disk, SUSPECTS_PATH, encodeSuspects(this.oids)));
    this.saving = saved;
    return saved;
  }
}
