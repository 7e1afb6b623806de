import { createHash } from 'node:crypto';
import { PassThrough } from 'node:stream';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { sweepCheckpoints } from '../../../src/cli/checkpoint-store.js';
import { Context } from '../../../src/cli/context.js';
import { encodeManifest, type Manifest } from '../../../src/vm/checkpoint/manifest.js';
import { imageNameOf, tagOf } from '../../../src/vm/checkpoint/names.js';
import { encodeHead } from '../../../src/vm/checkpoint/save-image.js';
import { DogBench } from '../../helpers/run-dog.js';

const MIB = 1024 * 1024;
const id = '0123456789ab';
const killed = 'ffffffffffff';
const living = 'eeeeeeeeeeee';
const manifest: Manifest = {
  ...{ id, domain: 'web', name: 'monday', uuid: 'u', running: true, qemu: '7.2.22' },
  disks: [{ target: 'vda', volume: 'root' }],
};
/** Much longer than a beat of the run that lives. */
const DEAD_MS = 1500;
const claimOf = (run: string, beat: number) =>
  Buffer.from(JSON.stringify({ id: run, beat })).toString('base64');

async function withBench(body: (bench: DogBench) => Promise<void>): Promise<void> {
  const bench = await DogBench.start();
  try {
    bench.cluster.add('root', MIB);
    bench.cluster.add('data', MIB);
    await body(bench);
  } finally {
    await bench.stop();
  }
}

function contextOf(bench: DogBench): Context {
  const nowhere = () => new PassThrough().resume();
  const streams = { stdin: nowhere(), stdout: nowhere(), stderr: nowhere() };
  const io = { ...streams, env: {}, stdinIsTerminal: false, stderrIsTerminal: false };
  return new Context(io, { port: String(bench.port) });
}

function addSnapshot(bench: DogBench, volume: string, run: string, snapId = 1): void {
  bench.cluster.add(volume, MIB, { snapshot: true, snapId, tag: tagOf({ name: 'monday', id: run }) });
}

function addCheckpoint(bench: DogBench): void {
  addSnapshot(bench, 'root', id);
  const head = encodeHead({ xml: '<domain/>', note: encodeManifest(manifest), running: true });
  const bytes = Buffer.concat([head, Buffer.from('QEVM and so on')]);
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  const size = Math.ceil(bytes.length / 512) * 512;
  const image = { contentBytes: bytes.length, sha256 };
  bytes.copy(bench.cluster.add(imageNameOf(manifest), size, { image }).bytes);
}

const tags = (bench: DogBench) => bench.cluster.vdis.map(({ info }) => info.tag).filter((tag) => tag !== '');

test('checkpoints are listed for people, for scripts, and exactly', () =>
  withBench(async (bench) => {
    addCheckpoint(bench);
    const plain = await bench.run('vm listvm');
    assert.match(plain.stdout, /^Domain +Name +State +Made +Disks\nweb +monday +0\.0 MB .* vda=root\n$/);
    const raw = await bench.run('vm listvm web -r');
    assert.match(raw.stdout, /^web monday 4110 \d+ vda=root\n$/);
    const [found] = JSON.parse((await bench.run('vm listvm --json')).stdout);
    assert.is(found.stateBytes, 4110);
    assert.equal(found.disks, manifest.disks);
    assert.equal(JSON.parse((await bench.run('vm listvm other --json')).stdout), []);
  }));

test('a checkpoint is deleted with its snapshots, and with nothing of others', () =>
  withBench(async (bench) => {
    addCheckpoint(bench);
    bench.cluster.add('root', MIB, { snapshot: true, snapId: 9, tag: 'mine' });
    assert.is((await bench.run('vm delvm web monday')).exit, 0);
    assert.equal(tags(bench), ['mine']);
    assert.is((await bench.run('vm delvm web monday')).exit, 5);
  }));

test('what a run has left that dropped its claims is swept at once', () =>
  withBench(async (bench) => {
    addCheckpoint(bench);
    addSnapshot(bench, 'root', killed, 2);
    addSnapshot(bench, 'data', killed);
    assert.is((await bench.run('vm listvm')).exit, 0);
    assert.equal(tags(bench), [tagOf(manifest)]);
  }));

test('what a run is making is left alone, and swept when nothing is heard of it', () =>
  withBench(async (bench) => {
    addSnapshot(bench, 'root', living);
    addSnapshot(bench, 'data', killed);
    const attributes = (name: string) => bench.cluster.find({ name }).attributes as Map<string, string>;
    attributes('data').set('checkpoint', claimOf(killed, 7));
    let beat = 0;
    attributes('root').set('checkpoint', claimOf(living, beat));
    const beating = setInterval(() => attributes('root').set('checkpoint', claimOf(living, ++beat)), 200);
    const context = contextOf(bench);
    try {
      assert.is(await sweepCheckpoints(context, DEAD_MS), 1);
    } finally {
      clearInterval(beating);
      context.close();
    }
    assert.equal(tags(bench), [tagOf({ name: 'monday', id: living })]);
    assert.is(attributes('data').get('checkpoint'), undefined);
    assert.ok(attributes('root').has('checkpoint'));
  }));

test('a checkpoint that lacks a snapshot is shown as broken, and not loaded', () =>
  withBench(async (bench) => {
    addCheckpoint(bench);
    const at = bench.cluster.vdis.findIndex(({ info }) => info.tag !== '');
    bench.cluster.vdis.splice(at, 1);
    assert.match((await bench.run('vm listvm')).stdout, /broken: there is no snapshot any more of root/);
    const { exit, stderr } = await bench.run('vm loadvm web monday --yes');
    assert.is(exit, 1);
    assert.match(stderr, /cannot be loaded/);
  }));

test('names that are none are wrong usage, before anything is asked', () =>
  withBench(async (bench) => {
    assert.is((await bench.run('vm savevm web', { args: ['a b'] })).exit, 64);
    assert.is((await bench.run('vm loadvm web monday --keep 12')).exit, 64);
    assert.equal(bench.cluster.calls, []);
    assert.is((await bench.run('vm loadvm web nothing --yes')).exit, 5);
  }));

test.run();
