import { crc32 } from '../base/bytes.js';
import type { Clock } from '../base/clock.js';
import type { Logger } from '../base/log.js';
import { defaultScrubLimits, firstOffset, type ScrubLimits } from '../cluster/scrub/scrub-pace.js';
import { parseScrubSetting, SCRUB_SETTING_KEY, type ScrubSetting } from '../cluster/scrub/scrub-record.js';
import { ScrubRecords } from '../cluster/scrub/scrub-records.js';
import { Scrubber, type ScrubTotals } from '../cluster/scrub/scrubber.js';
import { ClusterScrubTarget } from '../cluster/scrub-target.js';
import type { NodeInfo } from '../control/api.js';
import { describePlace, placeOf } from '../control/object-place.js';
import { ScrubCalls } from '../control/scrub-calls.js';
import type { Coordinator } from '../coord/coordinator.js';
import { isReferenced } from '../volume/references.js';
import type { Inner } from './inner.js';

export interface ScrubbingOptions {
  readonly coordinator: Coordinator;
  readonly clock: Clock;
  readonly log: Logger;
  readonly self: { readonly id: string };
  /** Where the defaults do not fit: the simulator's passes take seconds. */
  readonly scrub?: Partial<ScrubLimits>;
}

/** What the sheep knows. */
export interface ScrubbingSheep {
  /** A value under `cluster/`, as this sheep knows it. */
  readonly settingOf: (key: string) => string | undefined;
  /** The cluster is whole: nobody is down, behind or being settled. */
  readonly healthy: () => boolean;
  readonly nodes: () => NodeInfo[];
}

/** Scrubbing of one sheep: it runs while the sheep has a store, and is told by any sheep. */
export class Scrubbing {
  readonly calls: ScrubCalls;
  private readonly limits: ScrubLimits;
  private readonly records: ScrubRecords;
  private inner: Inner | undefined;
  private scrubber: Scrubber | undefined;

  constructor(
    private readonly options: ScrubbingOptions,
    private readonly sheep: ScrubbingSheep,
  ) {
    const { coordinator, self, scrub } = options;
    const { nodes, healthy } = sheep;
    this.limits = { ...defaultScrubLimits, ...scrub };
    this.records = new ScrubRecords(coordinator, self.id);
    this.calls = new ScrubCalls({
      coordinator,
      selfId: self.id,
      nodes,
      records: () => (this.inner === undefined ? undefined : this.records.all(this.inner.config.formatId)),
      own: () => this.scrubber?.state,
      directory: () => this.inner?.directory,
      defaultPeriodMs: this.limits.periodMs,
      mayScrub: healthy,
    });
  }

  start(): Promise<void> {
    return this.records.start();
  }

  stop(): void {
    this.close();
    this.records.stop();
  }

  /** What this process has done so far. */
  get totals(): ScrubTotals | undefined {
    return this.scrubber?.totals;
  }

  /** Objects of this sheep's last passes that cannot be repaired. */
  get unrepairable(): number {
    return this.scrubber?.state.unrepairableCount ?? 0;
  }

  open(inner: Inner): void {
    const { clock, log, self } = this.options;
    const { cluster, directory, config } = inner;
    const { formatId } = config;
    this.inner = inner;
    this.scrubber = new Scrubber({
      target: new ClusterScrubTarget({
        cluster,
        mayScrub: this.sheep.healthy,
        isReferenced: (oid) => isReferenced(directory, cluster.client, cluster.client.session(), oid),
      }),
      clock,
      log: log.child('scrub'),
      formatId,
      limits: this.limits,
      firstElapsedMs: firstOffset(crc32(Buffer.from(self.id))) * this.limits.periodMs,
      setting: () => this.setting,
      load: () => this.records.load(formatId),
      save: (record) => this.records.save(record),
      describe: (oid, blocks) => describePlace(placeOf(directory, oid, blocks)),
    });
    this.scrubber.start();
  }

  close(): void {
    this.scrubber?.stop();
    this.scrubber = undefined;
    this.inner = undefined;
  }

  /** Settings have changed. */
  nudge(): void {
    this.scrubber?.nudge();
  }

  private get setting(): ScrubSetting {
    return parseScrubSetting(this.sheep.settingOf(SCRUB_SETTING_KEY));
  }
}
