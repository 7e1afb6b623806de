// run: quick
// deadline: 200 s
/** `dog vm` with a libvirtd of its own; guests whose firmware finds nothing to start. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Libvirtd, requiresLibvirtd } from '../helpers/libvirtd.js';
import { around, doorSocket, mustVm, plainDomain, vm } from './vm-setup.js';

const MIB = 1024 * 1024;

const withLibvirt = requiresLibvirtd(test);

interface Node {
  'node-name': string;
  image: { 'virtual-size': number };
}

/** Names and sizes of the block nodes of a running guest. */
async function nodes(host: Libvirtd, domain: string): Promise<Record<string, number>> {
  const command = JSON.stringify({ execute: 'query-named-block-nodes', arguments: { flat: true } });
  const answer = JSON.parse(await host.mustVirsh('qemu-monitor-command', domain, command)) as {
    return: Node[];
  };
  return Object.fromEntries(answer.return.map((node) => [node['node-name'], node.image['virtual-size']]));
}

withLibvirt(
  'a volume is attached to a running guest, grown while it is used, and detached by its name',
  around(['alpha'], async (cluster, host) => {
    await cluster.call('vdi.create', { name: 'data', sizeBytes: 64 * MIB });
    await host!.mustVirsh('define', host!.file('plain.xml', plainDomain('plain')));
    await host!.mustVirsh('start', 'plain');
    await mustVm(cluster, 0, host!, 'attach', 'plain', 'data', '--target', 'sda');
    for (const scope of [[], ['--inactive']]) {
      const xml = await host!.mustVirsh('dumpxml', ...scope, 'plain');
      assert.ok(xml.includes(doorSocket(cluster, 0)), xml);
    }
    assert.is((await vm(cluster, 0, host!, 'attach', 'plain', 'data')).exit, 3);
    const before = await nodes(host!, 'plain');
    assert.ok(Object.values(before).every((bytes) => bytes === 64 * MIB));
    await mustVm(cluster, 0, host!, 'resize', 'plain', 'data', '96M');
    const after = await nodes(host!, 'plain');
    assert.equal(Object.keys(after), Object.keys(before), 'libvirt finds its nodes again');
    assert.ok(Object.values(after).every((bytes) => bytes === 96 * MIB));
    assert.is((await vm(cluster, 0, host!, 'resize', 'plain', 'data', '32M')).exit, 64);
    await mustVm(cluster, 0, host!, 'detach', 'plain', 'data');
    assert.equal(await nodes(host!, 'plain'), {});
    assert.is((await vm(cluster, 0, host!, 'detach', 'plain', 'data')).exit, 5);
  }),
);

withLibvirt(
  'a guest is created from a file and from a golden volume, and what failed leaves nothing',
  around(['alpha'], async (cluster, host) => {
    const iso = join(host!.folder, 'cd.iso');
    writeFileSync(iso, Buffer.alloc(64 * 1024, 7));
    const usual = ['--memory', '64M', '--cpus', '1', '--cpu', 'default', '--network', 'none'];
    const printed = await mustVm(cluster, 0, host!, 'create', 'cd', '--cdrom', iso, '--print', ...usual);
    await host!.mustVirsh('define', '--validate', host!.file('printed.xml', printed));
    await host!.mustVirsh('undefine', 'cd');
    await mustVm(cluster, 0, host!, 'create', 'cd', '--cdrom', iso, '--size', '32M', ...usual);
    assert.match(await host!.mustVirsh('domstate', 'cd'), /running/);
    const disks = await host!.mustVirsh('domblklist', 'cd');
    assert.match(disks, /vda +cd\n.*sda +cd\.iso/s);
    assert.is((await vm(cluster, 0, host!, 'create', 'cd', '--cdrom', iso, ...usual)).exit, 3);

    await cluster.call('vdi.snapshot', { name: 'cd', tag: 'clean' });
    const clone = ['--from', 'cd', '-s', 'clean', '--size', '48M', '--no-start'];
    await mustVm(cluster, 0, host!, 'create', 'web', ...clone, ...usual);
    assert.is((await cluster.call('vdi.info', { name: 'web' })).sizeBytes, 48 * MIB);

    // Nobody has such a network, which shows when it starts.
    const failed = ['create', 'lost', '--from', 'cd', '-s', 'clean', ...usual.slice(0, -1), 'nowhere'];
    const { exit, stderr } = await vm(cluster, 0, host!, ...failed);
    assert.is.not(exit, 0);
    assert.match(stderr, /^Failed to start lost: .*nowhere/);
    assert.not.match(await host!.mustVirsh('list', '--all', '--name'), /lost/);
    assert.is((await cluster.call('vdi.list', { name: 'lost' })).length, 0);
  }),
);

test.run();
