// deadline: 900 s
/** Checkpoints of a real guest: it goes on from there on another host, and what is killed midway leaves nothing. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { VdiInfo } from '../../src/control/api.js';
import { requiresGuest } from '../helpers/guest-files.js';
import { type Libvirtd, requiresLibvirtd, withLibvirtds } from '../helpers/libvirtd.js';
import { ownedProcess, type RealCluster, withCluster, within } from '../helpers/real-cluster.js';
import { type DogResult, dog } from '../helpers/run-dog.js';
import { CountingGuest } from './checkpoint-load.js';
import { GUEST, startCounting, VOLUMES } from './checkpoint-setup.js';
import { hostOf, withDoors } from './guest-setup.js';
import { mustVm, vm } from './vm-setup.js';

const BODY_DEADLINE_MS = 400_000;
const MOMENT_DEADLINE_MS = 60_000;

type Body = (cluster: RealCluster, alpha: Libvirtd, beta: Libvirtd) => Promise<void>;

function onTwoHosts(body: Body): Promise<void> {
  return withCluster({ ...withDoors, deadlineMs: BODY_DEADLINE_MS }, (cluster) =>
    withLibvirtds([hostOf(cluster, 0, 'alpha'), hostOf(cluster, 1, 'beta')], (alpha, beta) =>
      body(cluster, alpha!, beta!),
    ),
  );
}

const guestTest = requiresGuest(requiresLibvirtd(test));

guestTest('a guest whose machine is destroyed goes on from its checkpoint on another host', (files) =>
  onTwoHosts(async (cluster, alpha, beta) => {
    const { guest, counting } = await startCounting(cluster, alpha, files);
    const before = await counting.counted();
    const saved = JSON.parse(await mustVm(cluster, 0, alpha, 'savevm', GUEST, 'moment', '--json'));
    const after = await counting.goesOn();
    process.stdout.write(
      `saved ${saved.stateBytes} bytes in ${saved.tookMs} ms, stopped ${saved.pauseMs} ms\n`,
    );
    assert.is((await vm(cluster, 0, alpha, 'savevm', GUEST, 'moment')).exit, 3);
    const destroyedAt = await counting.goesOn(40);
    counting.close();

    // While it runs there, nothing is rolled back under it.
    const refused = await vm(cluster, 1, beta, 'loadvm', GUEST, 'moment', '--yes');
    assert.is(refused.exit, 1);
    assert.match(refused.stderr, /is in use/);
    await guest.destroy(alpha);

    await mustVm(cluster, 1, beta, 'loadvm', GUEST, 'moment', '--yes', '--keep', 'later');
    const there = new CountingGuest(await guest.console(beta));
    const first = await there.counted();
    process.stdout.write(
      `counted ${before} to ${after} when saved, ${destroyedAt} at the end, ${first} after\n`,
    );
    assert.ok(first >= before && first <= after + 30, `${first} is not of the moment ${before} to ${after}`);
    await there.goesOn(80);
    assert.match(await beta.mustVirsh('dumpxml', GUEST), /door1/);
    for (const name of VOLUMES) await cluster.call('vdi.info', { name, tag: 'later' });

    // Here, and once more: the checkpoint is still there, and the machine that runs is ended.
    there.close();
    await mustVm(cluster, 1, beta, 'loadvm', GUEST, 'moment', '--yes');
    const again = new CountingGuest(await guest.console(beta));
    assert.ok((await again.counted()) <= after + 30);
    await again.goesOn(40);

    const disks = VOLUMES.map((volume, i) => ({ target: `vd${'ab'[i]}`, volume }));
    const [found, ...others] = await listed(cluster);
    assert.equal({ ...found, disks: found!.disks }, { ...found, domain: GUEST, name: 'moment', disks });
    assert.is(others.length, 0);
    assert.is((await dogVm(cluster, 'delvm', GUEST, 'moment')).exit, 0);
    assert.is((await dogVm(cluster, 'delvm', GUEST, 'moment')).exit, 5);
    assert.equal(await pieces(cluster), []);
    // The guest has not noticed.
    await again.goesOn();
    again.close();
  }),
);

guestTest('a guest notices memory and disks of two moments', (files) =>
  onTwoHosts(async (cluster, alpha) => {
    const { guest, counting } = await startCounting(cluster, alpha, files);
    await mustVm(cluster, 0, alpha, 'savevm', GUEST, 'moment');
    await counting.goesOn(40);
    counting.close();
    await guest.destroy(alpha);
    // As if the second volume had not been rolled back.
    const [snapshot] = (await cluster.call('vdi.list', { name: VOLUMES[1] })).filter((vdi) => vdi.snapshot);
    await cluster.call('vdi.delete', { name: VOLUMES[1], snapId: snapshot!.snapId });
    const refused = await vm(cluster, 0, alpha, 'loadvm', GUEST, 'moment', '--yes');
    assert.match(refused.stderr, /no snapshot any more of two \(vdb\)/);
    await cluster.call('vdi.snapshot', { name: VOLUMES[1], tag: snapshot!.tag });
    await mustVm(cluster, 0, alpha, 'loadvm', GUEST, 'moment', '--yes');
    const mixed = new CountingGuest(await guest.console(alpha));
    assert.match(await mixed.complaint(), /^\/dev\/vdb: \d+ instead of/);
    mixed.close();
  }),
);

guestTest('a guest that changes its memory faster than that is stored is paused for the rest', (files) =>
  onTwoHosts(async (cluster, alpha, beta) => {
    const { guest, counting } = await startCounting(cluster, alpha, files);
    // What is changed in a millisecond is always more than what is stored in one.
    const command = '{"execute":"migrate-set-parameters","arguments":{"downtime-limit":1}}';
    await alpha.mustVirsh('qemu-monitor-command', GUEST, '--cmd', command);
    await counting.changeMemory();
    const saved = JSON.parse(await mustVm(cluster, 0, alpha, 'savevm', GUEST, 'moment', '--json'));
    process.stdout.write(
      `hurried: ${saved.stateBytes} bytes in ${saved.tookMs} ms, stopped ${saved.pauseMs} ms\n`,
    );
    assert.is(saved.hurried, true);
    assert.is(await alpha.mustVirsh('domstate', GUEST), 'running');
    await counting.goesOn(40);
    counting.close();
    await guest.destroy(alpha);
    await mustVm(cluster, 1, beta, 'loadvm', GUEST, 'moment', '--yes');
    const there = new CountingGuest(await guest.console(beta));
    await there.goesOn(40);
    there.close();
  }),
);

guestTest('savevm that is killed leaves a guest that runs, and nothing else for long', (files) =>
  onTwoHosts(async (cluster, alpha) => {
    const { counting } = await startCounting(cluster, alpha, files);
    // While memory is stored; when the guest stands still; and when its disks are there and its state is not.
    for (const [what, moment] of killMoments(cluster, alpha)) {
      await killedAt(cluster, alpha, moment);
      await within(MOMENT_DEADLINE_MS, `the guest runs when dog was killed ${what}`, async () => {
        return (await alpha.mustVirsh('domstate', GUEST)) === 'running';
      });
      await counting.goesOn();
      process.stdout.write(`killed ${what}: ${(await pieces(cluster)).length} pieces left\n`);
      assert.equal(await listed(cluster), []);
      assert.equal(await pieces(cluster), [], what);
    }
    await mustVm(cluster, 0, alpha, 'savevm', GUEST, 'moment');
    await counting.goesOn();
    counting.close();
    assert.is((await pieces(cluster)).length, 1 + VOLUMES.length);
  }),
);

function killMoments(cluster: RealCluster, host: Libvirtd): [string, () => Promise<boolean>][] {
  const migration = async () => {
    const command = '{"execute":"query-migrate"}';
    return JSON.parse(await host.mustVirsh('qemu-monitor-command', GUEST, '--cmd', command)).return;
  };
  return [
    ['while memory is stored', async () => (await migration()).status === 'active'],
    ['when the guest stands still', async () => (await host.mustVirsh('domstate', GUEST)) === 'paused'],
    ['when the disks are there', async () => (await pieces(cluster)).length > 0],
  ];
}

/** Runs savevm as a process of its own, and ends it at that moment. */
async function killedAt(cluster: RealCluster, host: Libvirtd, moment: () => Promise<boolean>): Promise<void> {
  const address = ['-a', '127.0.0.1', '-p', String(cluster.sheep[0]!.port)];
  const words = [...address, 'vm', 'savevm', '--connect', host.uri, GUEST, 'killed'];
  const child = spawn(process.execPath, ['dist/src/cli/main.js', ...words], { stdio: 'ignore' });
  ownedProcess(child);
  const exit = once(child, 'exit');
  await within(MOMENT_DEADLINE_MS, 'the moment to kill dog', async () => {
    return child.exitCode !== null || (await moment());
  });
  child.kill('SIGKILL');
  await exit;
}

/** Whatever of checkpoints is in the cluster. */
async function pieces(cluster: RealCluster): Promise<VdiInfo[]> {
  const vdis = await cluster.call('vdi.list', {});
  return vdis.filter(({ name, tag }) => `${name} ${tag}`.includes('checkpoint:'));
}

/** Without libvirt. */
function dogVm(cluster: RealCluster, ...words: string[]): Promise<DogResult> {
  const address = ['-a', '127.0.0.1', '-p', String(cluster.sheep[1]!.port)];
  return dog([...address, 'vm', ...words], { deadlineMs: MOMENT_DEADLINE_MS });
}

interface Listed {
  readonly domain: string;
  readonly name: string;
  readonly disks: unknown;
}

async function listed(cluster: RealCluster): Promise<Listed[]> {
  const { exit, stdout, stderr } = await dogVm(cluster, 'listvm', '--json');
  assert.is(exit, 0, stderr);
  return JSON.parse(stdout);
}

test.run();
