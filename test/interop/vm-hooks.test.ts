// run: quick
// deadline: 200 s
/** libvirt's hook, called by a libvirtd of its own; guests whose firmware finds nothing to start. */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Libvirtd, requiresLibvirtd } from '../helpers/libvirtd.js';
import { type RealCluster, within } from '../helpers/real-cluster.js';
import { around, doorSocket, hooksFolder, mustVm, plainDomain, vm } from './vm-setup.js';

const MIB = 1024 * 1024;
const WAIT_MS = 20_000;

const withLibvirt = requiresLibvirtd(test);

/** It does not run, as far as libvirt is concerned: a start that was refused leaves nothing behind. */
async function refusedStart(host: Libvirtd, domain: string): Promise<string> {
  const { code, stderr } = await host.virsh('start', domain);
  assert.is.not(code, 0, `${domain} started`);
  assert.match(await host.mustVirsh('domstate', domain), /shut off/);
  return stderr;
}

withLibvirt(
  'with the hook a domain starts only when its volume can be served and nobody else uses it',
  around(['alpha'], async (cluster, host) => {
    await cluster.call('vdi.create', { name: 'data', sizeBytes: 64 * MIB });
    const folder = hooksFolder(host!);
    // Somebody's own hook stays, and is called.
    mkdirSync(folder, { recursive: true });
    const others = join(folder, '10-others');
    writeFileSync(others, `#!/bin/sh\ncat > /dev/null\necho "$*" >> ${host!.folder}/calls\n`, {
      mode: 0o755,
    });
    await mustVm(cluster, 0, host!, 'hooks', 'install', '--dir', folder);
    assert.match(await mustVm(cluster, 0, host!, 'hooks', 'install', '--dir', folder), /is there already/);
    await mustVm(cluster, 0, host!, 'hooks', 'status', '--dir', folder);
    host!.reloadDaemon();

    for (const name of ['one', 'two', 'none']) {
      await host!.mustVirsh('define', host!.file(`${name}.xml`, plainDomain(name)));
      if (name !== 'none') await mustVm(cluster, 0, host!, 'attach', name, 'data', '--target', 'sda');
    }
    await within(WAIT_MS, 'hooks are called', async () => {
      await host!.mustVirsh('start', 'none');
      await host!.mustVirsh('destroy', 'none');
      return existsSync(join(host!.folder, 'calls'));
    });
    await host!.mustVirsh('start', 'one');
    assert.match(await refusedStart(host!, 'two'), /volume data \(sda\) is in use by another client/);
    await within(WAIT_MS, 'the disk waits for its sheep', () => /custom-monitor/.test(host!.guestLog('one')));
    await host!.mustVirsh('destroy', 'one');
    await host!.mustVirsh('start', 'two');
    await host!.mustVirsh('destroy', 'two');

    await Promise.all(cluster.sheep.slice(1).map((sheep) => sheep.kill()));
    assert.match(await refusedStart(host!, 'one'), /sheepfold: .*wait.*'dog doctor' says what to do/s);
    await cluster.sheep[0]!.kill();
    assert.match(await refusedStart(host!, 'one'), /volume data \(sda\): the sheep at .* does not answer/);
    await host!.mustVirsh('start', 'none');
    await removeHook(cluster, host!, folder);
    assert.equal([existsSync(others), existsSync(join(folder, '50-sheepfold'))], [true, false]);
  }),
);

async function removeHook(cluster: RealCluster, host: Libvirtd, folder: string): Promise<void> {
  assert.match(await mustVm(cluster, 0, host, 'hooks', 'remove', '--dir', folder), /^removed /);
  assert.is((await vm(cluster, 0, host, 'hooks', 'remove', '--dir', folder)).exit, 5);
}

withLibvirt(
  'a guest that migrates uses the sheep of the host it comes to, which owns its volume then',
  around(['alpha', 'beta'], async (cluster, alpha, beta) => {
    await cluster.call('vdi.create', { name: 'data', sizeBytes: 64 * MIB });
    for (const [index, host] of [alpha!, beta!].entries()) {
      await mustVm(cluster, index, host, 'hooks', 'install', '--dir', hooksFolder(host));
      host.killDaemon('TERM');
      await within(WAIT_MS, 'the daemon ends', async () => (await host.virsh('uri')).code !== 0);
      await host.startDaemon();
    }
    await alpha!.mustVirsh('define', alpha!.file('web.xml', plainDomain('web')));
    await mustVm(cluster, 0, alpha!, 'attach', 'web', 'data', '--target', 'sda');
    await alpha!.mustVirsh('start', 'web');
    assert.is((await cluster.sheep[1]!.call('vdi.claim', { name: 'data' })).here, false);
    await alpha!.mustVirsh(
      ...['migrate', '--live', '--p2p', 'web', beta!.uri, '--migrateuri', 'tcp://127.0.0.1'],
    );
    const xml = await beta!.mustVirsh('dumpxml', 'web');
    assert.ok(xml.includes(doorSocket(cluster, 1)), xml);
    assert.not.ok(xml.includes(doorSocket(cluster, 0)), xml);
    await within(WAIT_MS, 'the sheep of beta owns the volume', async () => {
      return (await cluster.sheep[1]!.call('vdi.claim', { name: 'data' })).here;
    });
    await within(WAIT_MS, 'the disk waits for its sheep', () => /custom-monitor/.test(beta!.guestLog('web')));
  }),
);

test.run();
