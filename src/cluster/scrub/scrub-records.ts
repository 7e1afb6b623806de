import type { Coordinator } from '../../coord/coordinator.js';
import { Mirror } from '../epochs/mirror.js';
import { parseScrubRecord, SCRUB_PREFIX, type ScrubRecord } from './scrub-record.js';

/** What the scrubs of all sheep have come to: each writes its own record, and knows those of the others. */
export class ScrubRecords {
  private readonly mirror: Mirror;

  constructor(
    private readonly coordinator: Coordinator,
    private readonly selfId: string,
  ) {
    this.mirror = new Mirror(coordinator, SCRUB_PREFIX, () => {});
  }

  start(): Promise<void> {
    return this.mirror.start();
  }

  stop(): void {
    this.mirror.stop();
  }

  /** By node id. */
  all(formatId: string): Map<string, ScrubRecord> {
    const all = new Map<string, ScrubRecord>();
    for (const [key, text] of this.mirror.entries) {
      const record = parseScrubRecord(text, formatId);
      if (record !== undefined) all.set(key.slice(SCRUB_PREFIX.length), record);
    }
    return all;
  }

  /** As it is stored now: the mirror may not show yet what this sheep wrote before it was restarted. */
  async load(formatId: string): Promise<ScrubRecord | undefined> {
    const kv = await this.coordinator.get(`${SCRUB_PREFIX}${this.selfId}`);
    return parseScrubRecord(kv?.value, formatId);
  }

  async save(record: ScrubRecord): Promise<void> {
    const put = { type: 'put', key: `${SCRUB_PREFIX}${this.selfId}`, value: JSON.stringify(record) } as const;
    await this.coordinator.txn([], [put]);
  }
}
