// run: quick
// deadline: 180 s
/** The hypervisors of the tests: what is promised of them to those who build on them. */
import { existsSync, readdirSync, readlinkSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Libvirtd, requiresLibvirtd, withLibvirtds } from '../helpers/libvirtd.js';
import { within } from '../helpers/real-cluster.js';

/** Nothing but an emulator that waits to be told to start: it needs no disk. */
const PAUSED_GUEST = `<domain type='qemu'>
  <name>idle</name>
  <memory unit='MiB'>32</memory>
  <os><type arch='x86_64' machine='pc'>hvm</type></os>
  <devices><emulator>/usr/bin/qemu-system-x86_64</emulator></devices>
</domain>
`;

const withHosts = requiresLibvirtd(test);

withHosts('two hosts differ in name and UUID, and a guest of one is not known to the other', () =>
  withLibvirtds([{ name: 'alpha' }, { name: 'beta' }], async (alpha, beta) => {
    assert.is(await alpha!.mustVirsh('hostname'), 'alpha');
    assert.is(await beta!.mustVirsh('hostname'), 'beta');
    assert.is.not(await uuidOf(alpha!), await uuidOf(beta!));
    await alpha!.mustVirsh('create', '--paused', alpha!.file('idle.xml', PAUSED_GUEST));
    assert.is(await alpha!.mustVirsh('list', '--name'), 'idle');
    assert.is(await beta!.mustVirsh('list', '--name'), '');
  }),
);

withHosts('a guest outlives the daemon, and ends with the host, of which nothing is left', async () => {
  let folder = '';
  let space = '';
  await withLibvirtds([{ name: 'alpha' }], async (host) => {
    folder = host!.folder;
    await host!.mustVirsh('create', '--paused', host!.file('idle.xml', PAUSED_GUEST));
    host!.killDaemon();
    await within(10_000, 'nobody answers', async () => (await host!.virsh('version')).code !== 0);
    await host!.startDaemon();
    assert.is(await host!.mustVirsh('domstate', 'idle'), 'paused');
    space = host!.space;
    assert.ok(processesIn(space) > 2, 'the first process, the daemon, the emulator');
  });
  assert.is(processesIn(space), 0);
  assert.not.ok(existsSync(folder));
});

withHosts('the host of a test that fails is ended as well', async () => {
  let space = '';
  await withLibvirtds([{ name: 'alpha' }], async (host) => {
    space = host!.space;
    throw new Error('as a test fails');
  }).then(
    () => assert.unreachable(),
    (error: Error) => assert.is(error.message, 'as a test fails'),
  );
  assert.is(processesIn(space), 0);
});

async function uuidOf(host: Libvirtd): Promise<string> {
  const found = /<uuid>(.*)<\/uuid>/.exec(await host.mustVirsh('capabilities'));
  if (found === null) throw new Error(`${host.name} has no UUID`);
  return found[1]!;
}

/** Processes of this machine in a namespace, as /proc names it. */
function processesIn(space: string): number {
  return readdirSync('/proc').filter((pid) => {
    try {
      return /^\d+$/.test(pid) && readlinkSync(`/proc/${pid}/ns/pid`) === space;
    } catch {
      // It has ended, or ends.
      return false;
    }
  }).length;
}

test.run();
