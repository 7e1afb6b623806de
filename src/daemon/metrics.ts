import { Counter, Gauge, Histogram, type MetricValue, Registry } from 'prom-client';
import { RequestCounters, type RequestKind } from '../base/request-counters.js';
import type { ScrubTotals } from '../cluster/scrub/scrubber.js';
import type { NbdServerStats } from '../nbd/server.js';
import type { SheepCore } from './sheep-core.js';

/** Latency buckets from 50 microseconds to 10 seconds. */
const BUCKETS_SECONDS = [
  0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
];

/** NBD commands in the terms of `dog node stat`; the rest only count in the total. */
const kinds: Readonly<Record<string, RequestKind>> = {
  READ: 'read',
  WRITE: 'write',
  WRITE_ZEROES: 'write',
  TRIM: 'remove',
  FLUSH: 'flush',
};

/** What a sheep tells Prometheus: names by that project's conventions (base units, _total, _seconds, _bytes). */
export class Metrics {
  readonly registry = new Registry();
  private readonly durations: Histogram<'command'>;
  private readonly bytes: Counter<'command'>;
  private readonly errors: Counter<'command' | 'error'>;
  /** One resolved child per command keeps label look-ups off the hot path. */
  private readonly children = new Map<
    string,
    { observe: (seconds: number) => void; add: (bytes: number) => void }
  >();

  private readonly clientRequests = new RequestCounters();

  constructor(
    private readonly core: () => Pick<
      SheepCore,
      'cluster' | 'store' | 'membership' | 'epoch' | 'healthy' | 'scrubbing'
    >,
    private readonly nbdStats: () => Pick<NbdServerStats, 'connections' | 'activeRequests'>,
  ) {
    const registers = [this.registry];
    this.durations = new Histogram({
      name: 'sheepfold_nbd_request_duration_seconds',
      help: 'Time from the arrival of an NBD request to its answer',
      labelNames: ['command'],
      buckets: BUCKETS_SECONDS,
      registers,
    });
    this.bytes = new Counter({
      name: 'sheepfold_nbd_request_bytes_total',
      help: 'Bytes asked for by NBD requests',
      labelNames: ['command'],
      registers,
    });
    this.errors = new Counter({
      name: 'sheepfold_nbd_request_errors_total',
      help: 'NBD requests answered with an error',
      labelNames: ['command', 'error'],
      registers,
    });
    this.gauge('sheepfold_nbd_connections', 'Open NBD connections', () => nbdStats().connections);
    this.gauge(
      'sheepfold_nbd_requests_active',
      'NBD requests not answered yet',
      () => nbdStats().activeRequests,
    );
    this.gauge('sheepfold_cluster_epoch', 'Epoch this sheep is in', () => core().epoch);
    this.gauge('sheepfold_cluster_nodes_up', 'Members that are up', () => upCount(core()));
    this.gauge('sheepfold_cluster_healthy', '1: every member is up and has caught up', () =>
      Number(core().healthy()),
    );
    this.gauge('sheepfold_recovery_objects', 'Objects this sheep has still to compare', () => {
      return core().cluster?.catchUp.remaining ?? 0;
    });
    this.count('sheepfold_recovery_compared_objects_total', 'Objects compared with their primary', () => {
      return core().cluster?.comparison?.totals.objects ?? 0;
    });
    this.count('sheepfold_recovery_moved_bytes_total', 'Bytes that this sheep was given by that', () => {
      return core().cluster?.comparison?.totals.bytes ?? 0;
    });
    this.gauge('sheepfold_recovery_moving', '1: the placement of objects is being changed', () =>
      Number(core().membership?.view?.record.move !== undefined),
    );
    this.gauge(
      'sheepfold_peers_unreachable',
      'Members that are up and that this sheep cannot reach',
      () => core().cluster?.connectivity?.cut.size ?? 0,
    );
    this.gauge('sheepfold_stepped_aside', '1: waits outside of the cluster to reach all members', () =>
      Number(core().cluster?.connectivity?.isAside ?? false),
    );
    this.gauge('sheepfold_io_network_failed_peers', 'Members reached by the main network instead', () => {
      return (
        core()
          .cluster?.links?.states()
          .filter((s) => s.ioAvoided).length ?? 0
      );
    });
    this.count('sheepfold_io_network_fallbacks_total', 'Changes from the I/O network to the main one', () => {
      return (
        core()
          .cluster?.links?.states()
          .reduce((sum, s) => sum + s.fallbacks, 0) ?? 0
      );
    });
    this.gauge(
      'sheepfold_store_total_bytes',
      'Size of the file system',
      () => core().store?.stats().totalBytes ?? 0,
    );
    this.gauge('sheepfold_store_free_bytes', 'Room left on it', () => core().store?.stats().freeBytes ?? 0);
    this.gauge(
      'sheepfold_store_used_bytes',
      'Room taken by objects',
      () => core().store?.stats().usedBytes ?? 0,
    );
    this.count('sheepfold_store_journal_syncs_total', 'Syncs of the journal', () => {
      return core().store?.stats().journalSyncs ?? 0;
    });
    this.count('sheepfold_store_journal_batches_total', 'Batches written to the journal', () => {
      return core().store?.stats().journalBatches ?? 0;
    });
    this.count('sheepfold_store_checksum_errors_total', 'Blocks that did not match their checksums', () => {
      return core().store?.stats().checksumErrors ?? 0;
    });
    this.scrubbed('objects', 'Objects whose replicas this sheep has compared in the background', 'objects');
    this.scrubbed('bytes', 'Bytes read of their replicas', 'bytes');
    this.scrubbed('found', 'Objects that were not right', 'found');
    this.scrubbed('repaired', 'Objects that were made right', 'repaired');
    this.gauge('sheepfold_scrub_unrepairable_objects', 'Objects of which no replica is right', () => {
      return core().scrubbing?.unrepairable ?? 0;
    });
    this.gauge('process_resident_memory_bytes', 'Resident memory', () => process.memoryUsage.rss());
    this.count('process_cpu_seconds_total', 'Processor time used', () => {
      const { user, system } = process.cpuUsage();
      return (user + system) / 1e6;
    });
  }

  /** A client's request for I/O was answered, by NBD or by the sheepdog protocol. */
  requestDone(command: string, durationMs: number, bytes: number, error: string | undefined): void {
    const child = this.childFor(command);
    child.observe(durationMs / 1000);
    if (bytes > 0) child.add(bytes);
    if (error !== undefined) this.errors.inc({ command, error });
    const carriesData = command === 'READ' || command === 'WRITE';
    this.clientRequests.done(kinds[command] ?? 'other', carriesData ? bytes : 0);
  }

  /** Everything as one flat record: what `node.stat` answers. Counts of requests first, then all metrics by name. */
  async counters(): Promise<Record<string, number>> {
    const { cluster } = this.core();
    const result: Record<string, number> = {
      ...this.clientRequests.named('client', this.nbdStats().activeRequests),
      ...(cluster?.requests ?? new RequestCounters()).named('peer', cluster?.activeRequests ?? 0),
    };
    for (const metric of await this.registry.getMetricsAsJSON()) {
      // A histogram's values have names of their own (_bucket, _sum, _count); prom-client's types leave that out.
      for (const { value, labels, metricName = metric.name } of metric.values as (MetricValue<string> & {
        metricName?: string;
      })[]) {
        const suffix = Object.entries(labels).map(([k, v]) => `${k}="${v}"`);
        result[suffix.length ? `${metricName}{${suffix.join(',')}}` : metricName] = value;
      }
    }
    return result;
  }

  private childFor(command: string) {
    let child = this.children.get(command);
    if (child === undefined) {
      const histogram = this.durations.labels(command);
      const counter = this.bytes.labels(command);
      child = { observe: (seconds) => histogram.observe(seconds), add: (bytes) => counter.inc(bytes) };
      this.children.set(command, child);
    }
    return child;
  }

  private gauge(name: string, help: string, value: () => number): void {
    new Gauge({
      name,
      help,
      registers: [this.registry],
      collect() {
        this.set(value());
      },
    });
  }

  private scrubbed(name: string, help: string, key: keyof ScrubTotals): void {
    this.count(`sheepfold_scrub_${name}_total`, help, () => this.core().scrubbing?.totals?.[key] ?? 0);
  }

  private count(name: string, help: string, value: () => number): void {
    new Counter({
      name,
      help,
      registers: [this.registry],
      collect() {
        this.reset();
        this.inc(value());
      },
    });
  }
}

function upCount(core: Pick<SheepCore, 'membership'>): number {
  return core.membership.view?.history.current.nodes.filter((n) => n.up).length ?? 0;
}
