import type { ClusterSettings } from '../cluster/epochs/settings.js';
import type { ControlProgress, NodeInfo, ScrubStatus } from '../control/api.js';
import type { CallResult } from '../control/carried.js';
import { ClusterCalls, type ClusterConfig, minCopiesOf } from '../control/cluster-calls.js';
import { DoctorCalls } from '../control/doctor-calls.js';
import { MemberCalls } from '../control/member-calls.js';
import { NodeCalls } from '../control/node-calls.js';
import type { Inner } from './inner.js';
import type { SheepOptions } from './sheep-core.js';
import type { StoreFigures } from './store-figures.js';

/** What the calls need to know of a sheep, always as it is at the moment. */
export interface CallSources
  extends Pick<ConstructorParameters<typeof ClusterCalls>[0], 'membership' | 'defaultCopies' | 'stopping'> {
  readonly inner: () => Inner | undefined;
  readonly config: () => ClusterConfig | undefined;
  readonly settings: () => ClusterSettings;
  readonly figures: StoreFigures;
  readonly scrub: () => Promise<ScrubStatus | undefined>;
}

/** The control calls that are not about volumes, joined. */
export class SheepCalls {
  readonly cluster: ClusterCalls;
  private readonly node: NodeCalls;
  private readonly member: MemberCalls;
  private readonly doctor: DoctorCalls;

  constructor(options: SheepOptions, sources: CallSources) {
    const { coordinator, clock, random, self, doors, counters, host } = options;
    const { membership, inner, settings, figures } = sources;
    this.cluster = new ClusterCalls({
      ...sources,
      coordinator,
      clock,
      random,
      config: () => inner()?.config,
      cluster: () => inner()?.cluster,
      storeStats: () => figures.all(),
      counters: counters ?? (async () => ({})),
      doors: doors ?? { nbdPort: self.nbdPort, nbdTls: 'off' },
    });
    this.member = new MemberCalls({
      coordinator,
      clock,
      membership,
      parts: inner,
      nodes: () => this.nodes(),
      settings,
      minCopiesOf: (copies) => minCopiesOf(sources.config(), copies),
    });
    this.doctor = new DoctorCalls({
      host: self.host,
      port: self.port,
      clock,
      coordinator,
      leaseTtlMs: options.leaseTtlMs,
      membership,
      info: () => this.cluster.info(),
      settings,
      parts: inner,
      scrub: sources.scrub,
    });
    this.node = new NodeCalls({
      clock,
      host,
      recovery: () => this.nodes().find((node) => node.id === self.id)?.progress,
      formatId: () => inner()?.config.formatId,
      storeStats: () => inner()?.store.stats(),
      end: () => options.onEnd({ kind: 'shutdown', message: 'somebody asked this sheep to stop' }),
    });
  }

  nodes(): NodeInfo[] {
    return this.cluster.nodes();
  }

  /** Undefined: the method is not one of these. */
  async call(
    method: string,
    params: unknown,
    onProgress: (progress: ControlProgress) => void,
  ): Promise<CallResult | undefined> {
    return (
      (await this.cluster.call(method, params)) ??
      this.node.call(method, params) ??
      (await this.doctor.call(method)) ??
      (await this.member.call(method, params, onProgress))
    );
  }

  /** A call that another sheep carried here. */
  carried(method: string, params: unknown): Promise<CallResult | undefined> {
    return this.member.carried(method, params);
  }
}
