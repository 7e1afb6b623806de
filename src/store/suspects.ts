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
  private inFlight = new Set<bigint>();

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

  /**
   * Objects with writes in flight now: suspects too, should the process die before it writes another journal batch.
   * They replace the ones of the last call.
   */
  async keepInFlight(oids: readonly bigint[]): Promise<void> {
    if (oids.length === 0 && this.inFlight.size === 0) return;
    this.inFlight = new Set(oids);
    await this.save();
  }

  /** One save after the other: they use the same file name. */
  save(): Promise<void> {
    const saved = this.saving
      .catch(() => {})
      .then(() =>
        replaceSmall(this.disk, SUSPECTS_PATH, encodeSuspects(new Set([...this.oids, ...this.inFlight]))),
      );
    this.saving = saved;
    return saved;
  }
}
