/**
 * Many hosts on one machine: each a network namespace with a cable (veth) to a router in a namespace of its own, so
 * that the network can be cut between any two of them, one way or both, slowed down, and metered.
 *
 * Nothing of the machine's own network is touched.
 *
 *     10.77.<network>.<host + first>/32    a host, on each of its networks
 *     10.77.<network>.254                  the router, on each of its cables
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { namespacePrefix, removeLeftovers, removeNamespace } from './netns-leftovers.js';

/** Cuts of the network are rules of the router, asked before its ordinary tables. */
const CUT_PREFERENCE = 100;
const HTB_BYTES_MIN = 16_000;

export interface Shape {
  /** Both ways, for all that goes through the cable. */
  readonly rateKbit?: number;
  /** Each way. */
  readonly lossPercent?: number;
  /** What waits for a slow cable; the queue's length is what makes it late. */
  readonly queuePackets?: number;
}

export interface Traffic {
  readonly receivedBytes: number;
  readonly sentBytes: number;
}

/** Whether this process may make namespaces; asked by making one. */
export function canMakeHosts(): boolean {
  const name = `${namespacePrefix}probe`;
  const made = spawnSync('ip', ['netns', 'add', name], { stdio: 'ignore' }).status === 0;
  if (made) spawnSync('ip', ['netns', 'del', name], { stdio: 'ignore' });
  return made && spawnSync('unshare', ['--mount', 'true'], { stdio: 'ignore' }).status === 0;
}

let worlds = 0;

export class HostNetwork {
  private readonly prefix = `${namespacePrefix}${worlds++}`;
  private readonly router = `${this.prefix}r`;
  private readonly cuts = new Set<string>();
  private removed = false;
  private readonly onExit = () => this.remove();

  /**
   * `networks`: how many cables each host has, each to a network of its own; `first`: the last part of the address of
   * the first host.
   */
  constructor(
    readonly hosts: number,
    readonly networks = 1,
    private readonly first = 1,
  ) {
    removeLeftovers();
    process.once('exit', this.onExit);
    run('netns', 'add', this.router);
    // Namespaces of their own have settings of their own; the machine's are not changed.
    inNamespace(this.router, 'sh', ['-c', 'echo 1 > /proc/sys/net/ipv4/ip_forward']);
    batch(this.router, ['link set lo up']);
    for (let host = 0; host < hosts; host++) this.plug(host);
  }

  namespaceOf(host: number): string {
    return `${this.prefix}h${host}`;
  }

  address(host: number, network = 0): string {
    return `10.77.${network}.${host + this.first}`;
  }

  /** Nothing gets from any of `from` to any of `to`; packets vanish, as in a broken switch. */
  cutOneWay(from: readonly number[], to: readonly number[], networks = this.all()): void {
    const added: string[] = [];
    for (const a of from) {
      for (const b of to) {
        for (const network of a === b ? [] : networks) {
          const rule = `pref ${CUT_PREFERENCE} from ${this.address(a, network)} to ${this.address(b, network)}`;
          if (!this.cuts.has(rule)) added.push(rule);
          this.cuts.add(rule);
        }
      }
    }
    batch(
      this.router,
      added.map((rule) => `rule add ${rule} blackhole`),
    );
  }

  cut(one: readonly number[], other: readonly number[], networks = this.all()): void {
    this.cutOneWay(one, other, networks);
    this.cutOneWay(other, one, networks);
  }

  /** Cuts these hosts from all others. */
  isolate(side: readonly number[], networks = this.all()): void {
    const rest = Array.from({ length: this.hosts }, (_, host) => host).filter((host) => !side.includes(host));
    this.cut(side, rest, networks);
  }

  /** All cuts end. */
  heal(): void {
    batch(
      this.router,
      [...this.cuts].map((rule) => `rule del ${rule} blackhole`),
    );
    this.cuts.clear();
  }

  /** Makes a host's cable slow or lossy, both ways; without a shape it is as fast as the machine again. */
  shape(host: number, shape?: Shape, network = 0): void {
    for (const [namespace, device] of [
      [this.router, cable(host, network)],
      [this.namespaceOf(host), `eth${network}`],
    ] as const) {
      spawnSync('tc', ['-n', namespace, 'qdisc', 'del', 'dev', device, 'root'], { stdio: 'ignore' });
      if (shape !== undefined) applyShape(namespace, device, shape);
    }
  }

  /** What went through a host's cable since it was made. */
  traffic(host: number, network = 0): Traffic {
    const args = ['-n', this.namespaceOf(host), '-j', '-s', 'link', 'show', `eth${network}`];
    const [{ stats64 }] = JSON.parse(execFileSync('ip', args, { encoding: 'utf8' })) as [
      { stats64: { rx: { bytes: number }; tx: { bytes: number } } },
    ];
    return { receivedBytes: stats64.rx.bytes, sentBytes: stats64.tx.bytes };
  }

  /** Bytes that hosts sent to each other since the network was made. */
  sentBytes(): number {
    let sum = 0;
    for (let host = 0; host < this.hosts; host++) {
      for (const network of this.all()) sum += this.traffic(host, network).sentBytes;
    }
    return sum;
  }

  /** Ends what still runs in the hosts, and removes everything. */
  remove(): void {
    if (this.removed) return;
    this.removed = true;
    process.off('exit', this.onExit);
    for (let host = 0; host < this.hosts; host++) removeNamespace(this.namespaceOf(host));
    removeNamespace(this.router);
  }

  private all(): readonly number[] {
    return Array.from({ length: this.networks }, (_, network) => network);
  }

  private plug(host: number): void {
    const namespace = this.namespaceOf(host);
    run('netns', 'add', namespace);
    batch(namespace, ['link set lo up']);
    for (const network of this.all()) {
      const [at, gateway] = [this.address(host, network), `10.77.${network}.254`];
      const [near, far] = [`eth${network}`, cable(host, network)];
      batch(this.router, [
        `link add ${far} type veth peer name ${near} netns ${namespace}`,
        `addr add ${gateway}/32 dev ${far}`,
        `link set ${far} up`,
        `route add ${at}/32 dev ${far}`,
      ]);
      batch(namespace, [
        `addr add ${at}/32 dev ${near}`,
        `link set ${near} up`,
        `route add 10.77.${network}.0/24 via ${gateway} dev ${near} onlink src ${at}`,
      ]);
    }
  }
}

function cable(host: number, network: number): string {
  return `v${host}n${network}`;
}

/**
 * HTB alone does both: a class as slow as wanted, and one with a queue too short for any packet, into which chance (a
 * filter in classic BPF) puts what is to be lost. netem would be the usual tool, but small kernels come without it.
 */
function applyShape(namespace: string, device: string, shape: Shape): void {
  const { rateKbit = 10_000_000, lossPercent = 0, queuePackets = 300 } = shape;
  const rate = [
    'rate',
    `${rateKbit}kbit`,
    'burst',
    String(Math.max(HTB_BYTES_MIN, rateKbit)),
    'quantum',
    '3000',
  ];
  const tc = (...words: string[]) => execFileSync('tc', ['-n', namespace, ...words], { stdio: 'pipe' });
  const on = ['dev', device];
  tc('qdisc', 'add', ...on, 'root', 'handle', '1:', 'htb', 'default', '1');
  tc('class', 'add', ...on, 'parent', '1:', 'classid', '1:1', 'htb', ...rate);
  tc('qdisc', 'add', ...on, 'parent', '1:1', 'handle', '10:', 'pfifo', 'limit', String(queuePackets));
  if (lossPercent === 0) return;
  tc('class', 'add', ...on, 'parent', '1:', 'classid', '1:2', 'htb', ...rate);
  tc('qdisc', 'add', ...on, 'parent', '1:2', 'handle', '20:', 'bfifo', 'limit', '1');
  // ld rand; jge #limit -> class 1:1, else class 1:2
  const limit = Math.floor((lossPercent / 100) * 0xffffffff);
  const code = ['4', '32 0 0 4294963256', `53 1 0 ${limit}`, '6 0 0 65538', '6 0 0 65537'].join(',');
  tc('filter', 'add', ...on, 'parent', '1:', 'protocol', 'ip', 'bpf', 'bytecode', code);
}

function run(...words: string[]): void {
  execFileSync('ip', words, { stdio: 'pipe' });
}

function batch(namespace: string, lines: readonly string[]): void {
  if (lines.length === 0) return;
  execFileSync('ip', ['-n', namespace, '-batch', '-'], { input: `${lines.join('\n')}\n`, stdio: 'pipe' });
}

function inNamespace(namespace: string, program: string, words: readonly string[]): void {
  execFileSync('ip', ['netns', 'exec', namespace, program, ...words], { stdio: 'pipe' });
}
