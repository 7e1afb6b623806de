import type { Coordinator, Watch } from '../../coord/coordinator.js';

/** An exact, live copy of all keys under a prefix. */
export class Mirror {
  readonly entries = new Map<string, string>();
  /** Revision up to which the copy is complete. */
  revision = 0;
  private watch: Watch | undefined;
  private waiters: { revision: number; resolve: () => void }[] = [];

  constructor(
    private readonly coordinator: Coordinator,
    private readonly prefix: string,
    /** Called after each change, with the keys that changed. */
    private readonly onChange: (keys: readonly string[]) => void,
  ) {}

  async start(): Promise<void> {
    const { entries, revision } = await this.coordinator.list(this.prefix);
    for (const kv of entries) this.entries.set(kv.key, kv.value);
    this.revision = revision;
    this.watch = this.coordinator.watch(this.prefix, revision, (events) => {
      for (const event of events) {
        if (event.type === 'put') this.entries.set(event.kv.key, event.kv.value);
        else this.entries.delete(event.key);
        this.revision = event.revision;
      }
      this.wake();
      this.onChange(events.map((e) => (e.type === 'put' ? e.kv.key : e.key)));
    });
  }

  /** Resolves when the copy shows the key as it was at `revision` (of a transaction that wrote under this prefix). */
  async seen(revision: number): Promise<void> {
    if (this.revision >= revision) return;
    await new Promise<void>((resolve) => {
      this.waiters.push({ revision, resolve });
    });
  }

  /** Waits until the copy shows what exists now, and nothing that is gone: for whoever misses or doubts something. */
  async catchUp(): Promise<void> {
    const { entries, revision } = await this.coordinator.list(this.prefix);
    await this.seen(entries.reduce((max, kv) => Math.max(max, kv.modRevision), 0));
    const present = new Set(entries.map((kv) => kv.key));
    // The prefix may have changed since: then what was deleted before that has been seen too.
    while (this.revision <= revision && [...this.entries.keys()].some((key) => !present.has(key))) {
      await this.seen(this.revision + 1);
    }
  }

  stop(): void {
    this.watch?.cancel();
    this.watch = undefined;
  }

  private wake(): void {
    const ready = this.waiters.filter((w) => w.revision <= this.revision);
    if (ready.length === 0) return;
    this.waiters = this.waiters.filter((w) => w.revision > this.revision);
    for (const waiter of ready) waiter.resolve();
  }
}
