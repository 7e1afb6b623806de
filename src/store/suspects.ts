/**
 * Objects that may differ from the other replicas', kept in the sealed file `suspects`: one oid per line, with ` torn`
 * behind it when the power went while it was written: only then may blocks be half written.
 */
import type { Disk } from './disk.js';
import { readSmall, replaceSmall, sealText, unsealText } from './small-file.js';

export const SUSPECTS_PATH = 'suspects';
const TORN = ' torn';

export interface SuspectList {
  readonly oids: Set<bigint>;
  /** Some of them. */
  readonly torn: Set<bigint>;
}

export function encodeSuspects(oids: Iterable<bigint>, torn: ReadonlySet<bigint> = new Set()): Buffer {
  let text = '';
  for (const oid of oids) text += `${oid.toString(16).padStart(16, '0')}${torn.has(oid) ? TORN : ''}\n`;
  return sealText(text);
}

/** Undefined when the file is damaged: then nobody knows, and every object is suspect. */
export function readSuspects(disk: Disk): SuspectList | undefined {
  const list: SuspectList = { oids: new Set(), torn: new Set() };
  const bytes = readSmall(disk, SUSPECTS_PATH);
  if (!bytes) return list;
  const text = unsealText(bytes);
  if (text === undefined) return undefined;
  for (const line of text.split('\n')) {
    if (line === '') continue;
    const oid = BigInt(`0x${line.slice(0, 16)}`);
    list.oids.add(oid);
    if (line.endsWith(TORN)) list.torn.add(oid);
  }
  return list;
}

export class Suspects implements SuspectList {
  readonly oids: Set<bigint>;
  readonly torn: Set<bigint>;
  private saving: Promise<void> = Promise.resolve();
  private inFlight = new Set<bigint>();

  constructor(
    private readonly disk: Disk,
    { oids, torn }: SuspectList,
  ) {
    this.oids = oids;
    this.torn = torn;
  }

  /** Not saved yet. */
  add(oid: bigint, torn: boolean): void {
    this.oids.add(oid);
    if (torn) this.torn.add(oid);
  }

  clear(oids: readonly bigint[]): Promise<void> {
    let changed = false;
    for (const oid of oids) {
      this.torn.delete(oid);
      changed = this.oids.delete(oid) || changed;
    }
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
      .then(() => {
        const all = new Set([...this.oids, ...this.inFlight]);
        return replaceSmall(this.disk, SUSPECTS_PATH, encodeSuspects(all, this.torn));
      });
    this.saving = saved;
    return saved;
  }
}
