// run: quick
// deadline: 240 s
/** `dog cluster token` and `dog cluster join`: another host, here another directory of this one. */
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { EtcdCluster } from '../helpers/etcd-cluster.js';
import { NbdClient } from '../helpers/nbd-client.js';
import { freePorts, type RealCluster, type RealSheep, withCluster, within } from '../helpers/real-cluster.js';
import { requires } from '../helpers/requires.js';
import { type DogResult, dog } from '../helpers/run-dog.js';

const withEtcd = requires(test, 'etcd', 'etcdctl');
const JOIN_MS = 90_000;

class Scene {
  private constructor(
    readonly cluster: RealCluster,
    readonly etcd: EtcdCluster,
    readonly dir: string,
    private readonly ports: readonly number[],
  ) {}

  static async run(body: (scene: Scene) => Promise<void>): Promise<void> {
    const etcd = await EtcdCluster.start();
    try {
      const options = { deadlineMs: 150_000, sheep: 2, coordinator: etcd.address('fold') };
      await withCluster(options, async (cluster) => {
        const scene = new Scene(cluster, etcd, join(cluster.folder, 'joined'), await freePorts(3));
        try {
          await body(scene);
        } finally {
          await scene.dog('down').catch(() => {});
        }
      });
    } finally {
      await etcd.stop();
    }
  }

  /** On the new host. */
  dog(command: string, ...more: string[]): Promise<DogResult> {
    return dog(['cluster', command, ...more, '--dir', this.dir], { deadlineMs: JOIN_MS });
  }

  join(token: string, ...more: string[]): Promise<DogResult> {
    const [port, nbd, http] = this.ports.map(String) as [string, string, string];
    return this.dog('join', token, '-p', port, '--nbd-port', nbd, '--http-port', http, ...more);
  }

  async token(): Promise<string> {
    const [first] = this.cluster.sheep as [RealSheep];
    const { exit, stdout, stderr } = await dog(['cluster', 'token', '-p', String(first.port)]);
    assert.is(exit, 0, stderr);
    return stdout.trim();
  }

  async members(): Promise<number[]> {
    const { nodes } = await this.cluster.call('cluster.info', {});
    return nodes.filter((node) => node.up).map((node) => node.port);
  }

  get port(): number {
    return this.ports[0]!;
  }
}

withEtcd('one line makes this host one of the cluster; down and up are for it alone', () =>
  Scene.run(async (scene) => {
    const joined = await scene.join(await scene.token());
    assert.is(joined.exit, 0, joined.stderr);
    assert.match(joined.stdout, /This host has joined the cluster/);
    assert.ok((await scene.members()).includes(scene.port));

    const again = await scene.join(await scene.token());
    assert.match(again.stdout, /This host is one of the cluster/);

    const down = await scene.dog('down');
    assert.match(down.stdout, /Stopped 1 sheep/);
    await within(JOIN_MS, 'the others are left', async () => (await scene.members()).length === 2);
    const up = await scene.dog('up');
    assert.is(up.exit, 0, up.stderr);
    await within(JOIN_MS, 'it is back', async () => (await scene.members()).includes(scene.port));

    const unit = await scene.join(await scene.token(), '--print-unit');
    assert.match(unit.stdout, new RegExp(`ExecStart=.* --dir ${scene.dir}/sheep0 --coordinator etcd://`));
    const { joined: kept } = JSON.parse(readFileSync(join(scene.dir, 'cluster.json'), 'utf8'));
    assert.equal(kept, { coordinator: scene.etcd.address('fold'), host: '127.0.0.1', zone: scene.port });
  }),
);

withEtcd(
  'a gateway serves volumes at the socket it is told, holds no objects, and stays one when it starts anew',
  () =>
    Scene.run(async (scene) => {
      const socket = join(scene.cluster.folder, 'doors', 'nbd.sock');
      mkdirSync(dirname(socket));
      const token = await scene.token();
      const bad = await scene.join(token, '--io-host', 'nowhere');
      assert.is(bad.exit, 64);
      assert.match(bad.stderr, /nowhere is no IP address/);
      const joined = await scene.join(token, '--gateway', '--nbd-socket', socket, '--io-host', '127.0.0.2');
      assert.is(joined.exit, 0, joined.stderr);
      await scene.cluster.call('vdi.create', { name: 'v', sizeBytes: 1024 * 1024 });
      for (const restart of [false, true]) {
        if (restart) {
          assert.is((await scene.dog('down')).exit, 0);
          await within(JOIN_MS, 'the others are left', async () => (await scene.members()).length === 2);
          assert.is((await scene.dog('up')).exit, 0);
        }
        const { nodes } = await scene.cluster.call('cluster.info', {});
        const gateway = nodes.find((node) => node.port === scene.port);
        assert.equal([gateway?.vnodes, gateway?.up], [0, true]);
        const volume = await NbdClient.open({ path: socket }, 'v');
        await volume.write(0, Buffer.alloc(4096, 1));
        await volume.close();
      }
      assert.match(readFileSync(join(scene.dir, 'cluster.json'), 'utf8'), /"ioHost": "127\.0\.0\.2"/);
    }),
);

withEtcd('tokens that are not good are refused, and nothing is left of the try', () =>
  Scene.run(async (scene) => {
    const token = await scene.token();
    const change = (edit: (fields: Record<string, unknown>) => void): string => {
      const fields = JSON.parse(Buffer.from(token.slice('sheepfold-'.length), 'base64url').toString());
      edit(fields);
      return `sheepfold-${Buffer.from(JSON.stringify(fields)).toString('base64url')}`;
    };
    for (const [text, words] of [
      ['nonsense', /not a token/],
      [token.slice(0, -9), /not a token/],
      [change((fields) => Object.assign(fields, { expires: 1 })), /was good until 1970/],
      [
        change((fields) => Object.assign(fields, { coordinator: 'etcd://127.0.0.1:1/fold' })),
        /cannot be reached/,
      ],
      [change((fields) => Object.assign(fields, { cluster: 'another' })), /not the cluster another/],
    ] as const) {
      const { exit, stderr } = await scene.join(text);
      assert.ok(exit !== 0);
      assert.match(stderr, words);
      assert.not(existsSync(scene.dir), `${words}`);
    }
    assert.is((await scene.members()).length, 2);
  }),
);

test('a cluster in a directory has no tokens, and says what to do', () =>
  withCluster({ deadlineMs: 60_000, sheep: 1 }, async (cluster) => {
    const [first] = cluster.sheep as [RealSheep];
    const { exit, stderr } = await dog(['cluster', 'token', '-p', String(first.port)]);
    assert.is(exit, 1);
    assert.match(stderr, /one host only/);
    assert.match(stderr, /dog cluster move-coordinator etcd:/);
  }));

test.run();
