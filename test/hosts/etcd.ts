/** A real etcd, its members on hosts of the room. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { within } from '../helpers/real-cluster.js';
import type { Host, HostProcess } from './host.js';

const CLIENT_PORT = 2379;
const PEER_PORT = 2380;
const START_DEADLINE_MS = 60_000;

export class EtcdMember {
  private process: HostProcess | undefined;

  constructor(
    readonly host: Host,
    private readonly all: readonly Host[],
  ) {}

  /** Starts it, for the first time or again with the data it has. */
  spawn(): void {
    const { address, folder } = this.host;
    const peer = (host: Host) => `http://${host.address}:${PEER_PORT}`;
    const client = `http://${address}:${CLIENT_PORT}`;
    this.process = this.host.spawn('etcd', 'etcd', [
      ...['--name', nameOf(this.host), '--data-dir', join(folder, 'etcd'), '--initial-cluster-state', 'new'],
      ...['--initial-cluster', this.all.map((host) => `${nameOf(host)}=${peer(host)}`).join(',')],
      ...['--listen-peer-urls', peer(this.host), '--initial-advertise-peer-urls', peer(this.host)],
      ...['--listen-client-urls', client, '--advertise-client-urls', client],
    ]);
  }

  get running(): boolean {
    return this.process?.running ?? false;
  }

  async kill(): Promise<void> {
    await this.process?.end();
  }

  freeze(): void {
    this.process?.signal('SIGSTOP');
  }

  thaw(): void {
    this.process?.signal('SIGCONT');
  }
}

export class Etcd {
  readonly members: readonly EtcdMember[];

  constructor(hosts: readonly Host[]) {
    this.members = hosts.map((host) => new EtcdMember(host, hosts));
  }

  /** As sheep are told it. */
  get address(): string {
    const places = this.members.map(({ host }) => `${host.address}:${CLIENT_PORT}`);
    return `etcd://${places.join(',')}/hosts`;
  }

  async start(): Promise<void> {
    for (const member of this.members) if (!member.running) member.spawn();
    await within(START_DEADLINE_MS, 'etcd has a leader', () => this.healthy());
  }

  async kill(): Promise<void> {
    await Promise.all(this.members.map((member) => member.kill()));
  }

  /** The member on this host answers, which it does only while it is of a majority. */
  private healthy(): boolean {
    return this.members.every(({ host }) => {
      const etcdctl = [
        'etcdctl',
        `--endpoints=http://${host.address}:${CLIENT_PORT}`,
        '--command-timeout=2s',
      ];
      const enter = [`--net=/run/netns/${host.network.namespaceOf(host.index)}`];
      const env = { ...process.env, ETCDCTL_API: '3' };
      return (
        spawnSync('nsenter', [...enter, ...etcdctl, 'endpoint', 'health'], { env, stdio: 'ignore' })
          .status === 0
      );
    });
  }
}

function nameOf(host: Host): string {
  return `host${host.index}`;
}
