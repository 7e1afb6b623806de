import type { Clock } from '../../base/clock.js';
import { emptyMessage, PeerType } from '../../wire/peer-message.js';
import type { Links } from './links.js';

/**
 * Finds out from the traffic itself which members this node cannot reach. Time is counted in ticks of this process: one
 * that was frozen has missed ticks, not answers.
 */
/** Ticks without any answer to what was asked, after which a node cannot be reached. A dead one's lease ends first. */
const SILENT_TICKS = 8;
/** The same for nodes about which others complain: whoever is concerned shall know at about the same time. */
const SILENT_TICKS_ALARMED = 3;
/** After so many a link on the network for I/O tries the other one: in time before it counts. */
const SILENT_TICKS_IO = 3;
/** Ticks with answers in all of them after which a node can be reached again. */
const HEARD_TICKS = 3;
/** Links on which nothing happens are asked whether they live; the longest silent ones first, and no more than this. */
const IDLE_TICKS = 2;
const IDLE_PINGS_PER_SECOND_MAX = 32;
/** Good answers on the network for I/O before it is used again; doubled with each time it failed. */
const IO_ANSWERS = 3;
const IO_ANSWERS_MAX = 60;
const IO_TICKS = 4;

export interface ProberOptions {
  readonly links: Links;
  readonly clock: Clock;
  readonly tickMs: number;
}

export interface Peer {
  readonly id: string;
  readonly incarnation: string;
}

interface Probe {
  readonly incarnation: string;
  pulse: number;
  /** Something was asked that has not been answered. */
  asked: boolean;
  pinging: boolean;
  silentTicks: number;
  heardTicks: number;
  idleTicks: number;
  cut: boolean;
  /** Answers in a row on the network for I/O, which is not used. */
  ioAnswers: number;
  ioTicks: number;
}

export class Prober {
  private probes = new Map<string, Probe>();
  private stopped = false;

  constructor(private readonly options: ProberOptions) {}

  stop(): void {
    this.stopped = true;
  }

  /** Ids of members that cannot be reached, each with the incarnation that this is about. */
  get cut(): ReadonlyMap<string, string> {
    const found = new Map<string, string>();
    for (const [id, probe] of this.probes) if (probe.cut) found.set(id, probe.incarnation);
    return found;
  }

  /** Once per tick. `alarmed`: somebody complains about this node or it about somebody. */
  tick(peers: readonly Peer[], alarmed: (id: string) => boolean): void {
    const { links, tickMs } = this.options;
    const probes = new Map<string, Probe>();
    for (const { id, incarnation } of peers) {
      const known = this.probes.get(id);
      const probe = known?.incarnation === incarnation ? known : newProbe(incarnation, links.pulse(id));
      probes.set(id, probe);
    }
    this.probes = probes;
    for (const [id, probe] of probes) {
      this.note(id, probe, alarmed(id));
      this.lookForIo(id, probe);
      const isWaiting = links.isWaiting(id);
      if (probe.cut || probe.silentTicks > 0 || alarmed(id) || (isWaiting && probe.heardTicks === 0))
        this.ping(id, probe);
      probe.asked = probe.pinging || isWaiting;
    }
    this.pingIdle(Math.max(1, Math.floor((IDLE_PINGS_PER_SECOND_MAX * tickMs) / 1000)));
  }

  private note(id: string, probe: Probe, alarmed: boolean): void {
    const pulse = this.options.links.pulse(id);
    if (pulse !== probe.pulse) {
      probe.pulse = pulse;
      probe.silentTicks = 0;
      probe.idleTicks = 0;
      probe.heardTicks++;
      if (probe.heardTicks >= HEARD_TICKS) probe.cut = false;
      return;
    }
    probe.heardTicks = 0;
    probe.idleTicks++;
    if (!probe.asked) return;
    probe.silentTicks++;
    if (probe.silentTicks >= (alarmed ? SILENT_TICKS_ALARMED : SILENT_TICKS)) probe.cut = true;
    this.giveUpLink(id, probe);
  }

  /** A way that has healed is found by a new link long before the old one has repeated what got lost. */
  private giveUpLink(id: string, probe: Probe): void {
    const { links } = this.options;
    const ioFails = probe.silentTicks === SILENT_TICKS_IO && links.networkOf(id) === 'io';
    if (ioFails || probe.silentTicks % SILENT_TICKS === 0) links.renew(id);
  }

  private ping(id: string, probe: Probe): void {
    if (probe.pinging || this.stopped) return;
    probe.pinging = true;
    const done = () => {
      probe.pinging = false;
    };
    // Heard or not is told by the pulse of the link.
    this.options.links.request(id, emptyMessage(PeerType.ping)).then(done, done);
  }

  private pingIdle(most: number): void {
    const idle = [...this.probes].filter(([, p]) => p.idleTicks >= IDLE_TICKS && !p.asked);
    idle.sort(([, a], [, b]) => b.idleTicks - a.idleTicks);
    for (const [id, probe] of idle.slice(0, most)) {
      this.ping(id, probe);
      probe.asked = true;
    }
  }

  /** The network for I/O is used again when it has answered for a while. */
  private lookForIo(id: string, probe: Probe): void {
    const { links } = this.options;
    const state = links.stateOf(id);
    if (!state.ioAvoided) {
      probe.ioTicks = 0;
      probe.ioAnswers = 0;
      return;
    }
    probe.ioTicks++;
    const wanted = Math.min(IO_ANSWERS_MAX, IO_ANSWERS * 2 ** (state.fallbacks - 1));
    // What is under way is broken off by the change: a moment without is waited for, a while.
    if (probe.ioAnswers >= wanted && (!links.isWaiting(id) || probe.ioAnswers >= 2 * wanted)) {
      links.returnToIo(id);
    } else if (probe.ioTicks % IO_TICKS === 0) {
      void links.answersOnIo(id).then((answers) => {
        probe.ioAnswers = answers ? probe.ioAnswers + 1 : 0;
      });
    }
  }
}

function newProbe(incarnation: string, pulse: number): Probe {
  const none = { asked: false, pinging: false, cut: false };
  return {
    ...none,
    incarnation,
    pulse,
    silentTicks: 0,
    heardTicks: 0,
    idleTicks: IDLE_TICKS,
    ioAnswers: 0,
    ioTicks: 0,
  };
}
