/** A real etcd of one or several members on free loopback ports, killed, frozen and compacted as tests please. */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { sleep, systemClock } from '../../src/base/clock.js';
import { freePorts, ownedProcess } from './real-cluster.js';

const UP_LIMIT_MS = 20_000;

export interface EtcdClusterOptions {
  readonly members?: number;
  /** Milliseconds; etcd's defaults are 100 and 1000. The shortest lease is one and a half elections. */
  readonly heartbeatMs?: number;
  readonly electionMs?: number;
  readonly more?: readonly string[];
  /** Of a client, when members want TLS; `more` says that they do. */
  readonly tls?: { readonly cert: string; readonly key: string };
  readonly ca?: string;
}

interface EtcdMember {
  readonly name: string;
  readonly clientPort: number;
  readonly peerPort: number;
  readonly dataDir: string;
  process: ChildProcess | undefined;
}

export class EtcdCluster {
  private constructor(
    private readonly root: string,
    private readonly members: EtcdMember[],
    private readonly options: EtcdClusterOptions,
  ) {}

  static async start(options: EtcdClusterOptions = {}): Promise<EtcdCluster> {
    const count = options.members ?? 1;
    const root = mkdtempSync(join(tmpdir(), 'sheepfold-etcd-'));
    const ports = await freePorts(2 * count);
    const members = Array.from({ length: count }, (_, i) => ({
      name: `m${i}`,
      clientPort: ports[2 * i]!,
      peerPort: ports[2 * i + 1]!,
      dataDir: join(root, `m${i}`),
      process: undefined,
    }));
    const cluster = new EtcdCluster(root, members, options);
    for (let i = 0; i < count; i++) cluster.launch(i);
    try {
      await cluster.untilHealthy();
    } catch (error) {
      await cluster.stop();
      throw error;
    }
    return cluster;
  }

  get size(): number {
    return this.members.length;
  }

  /** For `--coordinator`, of all members or of some. */
  address(name: string, some?: readonly number[]): string {
    const members = this.members.filter((_, i) => some?.includes(i) ?? true);
    return `etcd://${members.map((m) => `127.0.0.1:${m.clientPort}`).join(',')}/${name}`;
  }

  /** Starts a member that was killed, with the data it had. */
  launch(index: number): void {
    const member = this.members[index]!;
    const { heartbeatMs = 20, electionMs = 200, more = [] } = this.options;
    const client = `${this.options.tls ? 'https' : 'http'}://127.0.0.1:${member.clientPort}`;
    const peer = `http://127.0.0.1:${member.peerPort}`;
    const args = [
      ...['--name', member.name, '--data-dir', member.dataDir, '--logger', 'zap', '--log-level', 'error'],
      ...['--listen-client-urls', client, '--advertise-client-urls', client],
      ...['--listen-peer-urls', peer, '--initial-advertise-peer-urls', peer],
      ...['--initial-cluster', this.members.map((m) => `${m.name}=http://127.0.0.1:${m.peerPort}`).join(',')],
      ...['--heartbeat-interval', String(heartbeatMs), '--election-timeout', String(electionMs)],
      ...more,
    ];
    member.process = ownedProcess(spawn('etcd', args, { stdio: 'ignore' }));
  }

  signal(index: number, signal: NodeJS.Signals): void {
    this.members[index]!.process?.kill(signal);
  }

  /** kill -9, and gone when this resolves. */
  async kill(index: number): Promise<void> {
    const { process } = this.members[index]!;
    if (!process || process.exitCode !== null || process.signalCode !== null) return;
    const gone = new Promise((resolve) => void process.once('exit', resolve));
    process.kill('SIGKILL');
    await gone;
  }

  async killAll(): Promise<void> {
    await Promise.all(this.members.map((_, i) => this.kill(i)));
  }

  /** etcdctl of version 3, asked of all members, or of one. Resolves with its standard output. */
  async ctl(args: readonly string[], index?: number): Promise<string> {
    const asked = index === undefined ? this.members : [this.members[index]!];
    const endpoints = asked.map((m) => `127.0.0.1:${m.clientPort}`).join(',');
    const { tls, ca } = this.options;
    const secure = tls && ca ? ['--cacert', ca, '--cert', tls.cert, '--key', tls.key] : [];
    const { stdout } = await promisify(execFile)('etcdctl', ['--endpoints', endpoints, ...secure, ...args], {
      env: { ...process.env, ETCDCTL_API: '3' },
      timeout: 10_000,
    });
    return stdout;
  }

  /** Forgets all history before the present revision; by this member, as others may be frozen. */
  async compact(index = 0): Promise<void> {
    const status = JSON.parse(await this.ctl(['endpoint', 'status', '-w', 'json'], index)) as [
      { Status: { header: { revision: number } } },
    ];
    await this.ctl(['compact', String(status[0].Status.header.revision)], index);
  }

  /** Index of the member that leads now. */
  async leader(): Promise<number> {
    const endMs = systemClock.nowMs() + UP_LIMIT_MS;
    for (;;) {
      for (let i = 0; i < this.size; i++) {
        const text = await this.ctl(['endpoint', 'status', '-w', 'json'], i).catch(() => undefined);
        if (text === undefined) continue;
        const [{ Status: status }] = JSON.parse(text) as [
          { Status: { header: { member_id: number }; leader: number } },
        ];
        if (status.leader !== 0 && status.leader === status.header.member_id) return i;
      }
      if (systemClock.nowMs() > endMs) throw new Error('no leader of etcd');
      await sleep(systemClock, 50);
    }
  }

  async untilHealthy(): Promise<void> {
    const endMs = systemClock.nowMs() + UP_LIMIT_MS;
    for (;;) {
      try {
        await this.ctl(['endpoint', 'health']);
        return;
      } catch (error) {
        if (systemClock.nowMs() > endMs) throw error;
      }
      await sleep(systemClock, 50);
    }
  }

  async stop(): Promise<void> {
    await this.killAll();
    rmSync(this.root, { recursive: true, force: true });
  }
}
