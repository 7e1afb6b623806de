/** Ownership asked for ahead of a client: what libvirt's hook relies on. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { sleep, systemClock } from '../../src/base/clock.js';
import { AppError } from '../../src/base/errors.js';
import { NbdClient } from '../helpers/nbd-client.js';
import { withCluster, within } from '../helpers/real-cluster.js';

const MIB = 1024 * 1024;
const WAIT_MS = 20_000;
/** Long enough for a cluster that can serve, and an end for a test of one that cannot. */
const NO_ANSWER_MS = 3_000;

test('a volume that nobody uses goes to whoever claims it, and one in use stays', () =>
  withCluster({ deadlineMs: 90_000 }, async (cluster) => {
    const [first, second] = cluster.sheep as [(typeof cluster.sheep)[0], (typeof cluster.sheep)[0]];
    await cluster.call('vdi.create', { name: 'disk', sizeBytes: 16 * MIB });
    for (const one of [first, second, first]) {
      const { here, users } = await one.call('vdi.claim', { name: 'disk' });
      assert.equal({ here, users }, { here: true, users: 0 });
    }

    const client = await NbdClient.open(first.nbd, 'disk');
    await client.write(0, Buffer.alloc(4096, 1));
    assert.is((await first.call('vdi.claim', { name: 'disk' })).users, 1);
    const { owner, ...rest } = await second.call('vdi.claim', { name: 'disk' });
    assert.equal(rest, { here: false, users: 1 });
    const { nodes } = await cluster.call('cluster.info', {});
    assert.is(nodes.find(({ id }) => id === owner)?.port, first.port);
    assert.equal(await first.call('vdi.release', { name: 'disk' }), { released: false });
    await client.write(4096, Buffer.alloc(4096, 2));
    client.close();
    await within(WAIT_MS, 'the client has gone', async () => {
      return (await second.call('vdi.claim', { name: 'disk' })).here;
    });
    assert.equal(await first.call('vdi.release', { name: 'disk' }), { released: false });

    // What a client of another gateway has written is there for the next one, wherever it is.
    const next = await NbdClient.open(second.nbd, 'disk');
    assert.equal(await next.read(4096, 4096), Buffer.alloc(4096, 2));
    next.close();
  }));

test('a client that has been idle since the owner left is counted', () =>
  withCluster({ deadlineMs: 90_000 }, async (cluster) => {
    const [first, second, third] = cluster.sheep;
    await cluster.call('vdi.create', { name: 'disk', sizeBytes: 16 * MIB });
    const source = await NbdClient.open(first!.nbd, 'disk');
    const destination = await NbdClient.open(second!.nbd, 'disk');
    await source.write(0, Buffer.alloc(4096, 1));
    source.close();
    await within(WAIT_MS, 'the third sheep takes the volume', async () => {
      return (await third!.call('vdi.claim', { name: 'disk' })).here;
    });
    assert.is((await third!.call('vdi.claim', { name: 'disk' })).users, 1);
    assert.equal(await destination.read(0, 4096), Buffer.alloc(4096, 1));
    destination.close();
    await within(WAIT_MS, 'nobody uses it', async () => {
      return (await third!.call('vdi.claim', { name: 'disk' })).users === 0;
    });
  }));

test('snapshots and images have no owner, and what is not there cannot be claimed', () =>
  withCluster({ deadlineMs: 90_000 }, async (cluster) => {
    await cluster.call('vdi.create', { name: 'disk', sizeBytes: 16 * MIB });
    await cluster.call('vdi.snapshot', { name: 'disk', tag: 'clean' });
    const claimed = await cluster.call('vdi.claim', { name: 'disk', tag: 'clean' });
    assert.equal(claimed, { here: false, users: 0 });
    for (const [ref, code] of [
      [{ name: 'none' }, 'no-vdi'],
      [{ name: 'disk', tag: 'none' }, 'no-tag'],
    ] as const) {
      const answer = await cluster.call('vdi.claim', ref).catch((error: unknown) => error);
      assert.ok(AppError.isCode(answer, code), `${ref.name}: ${answer}`);
    }
  }));

test('a claim is answered when the volume can be served, and not before', () =>
  withCluster({ deadlineMs: 90_000, copies: 1 }, async (cluster) => {
    await cluster.call('vdi.create', { name: 'disk', sizeBytes: 16 * MIB });
    const { holders } = await cluster.call('vdi.object', { name: 'disk', index: -1 });
    const holder = cluster.sheep.find(({ port }) => port === holders[0]?.port)!;
    const other = cluster.sheep.find((one) => one !== holder)!;
    await holder.call('vdi.claim', { name: 'disk' });
    await holder.kill();
    // The ownership ended with its sheep, and can be had; what tells where the data lies cannot.
    const claim = other.call('vdi.claim', { name: 'disk' }).catch(() => 'refused');
    const early = await Promise.race([claim, sleep(systemClock, NO_ANSWER_MS).then(() => 'silent')]);
    assert.is(early, 'silent');
    await holder.start();
    await within(WAIT_MS, 'the volume is served again', async () => {
      return (await other.call('vdi.claim', { name: 'disk' })).here;
    });
  }));

test.run();
