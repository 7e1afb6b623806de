import { type EpochRecord, parseEpoch } from './epoch.js';
import type { Mirror } from './mirror.js';
import { epochKey } from './proposal.js';

/** The epoch records that the coordinator keeps, each parsed once. */
export class EpochRecords {
  private readonly parsed = new Map<string, { readonly text: string; readonly record: EpochRecord }>();

  constructor(private readonly mirror: Mirror) {}

  newest(): EpochRecord | undefined {
    const key = this.keys().at(-1);
    return key === undefined ? undefined : this.at(key);
  }

  /** Oldest first. */
  since(epoch: number): EpochRecord[] {
    const first = epochKey(epoch);
    return this.keys()
      .filter((key) => key >= first)
      .map((key) => this.at(key));
  }

  private keys(): string[] {
    const { entries } = this.mirror;
    for (const key of this.parsed.keys()) if (!entries.has(key)) this.parsed.delete(key);
    return [...entries.keys()].sort();
  }

  private at(key: string): EpochRecord {
    const text = this.mirror.entries.get(key)!;
    let known = this.parsed.get(key);
    if (known?.text !== text) {
      known = { text, record: parseEpoch(text) };
      this.parsed.set(key, known);
    }
    return known.record;
  }
}
