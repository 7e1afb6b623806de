// deadline: 400 s
/** `dog vm migrate` refuses, says why, and changes nothing: each trouble made for real between two hypervisors. */
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Libvirtd, requiresLibvirtd, withLibvirtds } from '../helpers/libvirtd.js';
import { NbdClient } from '../helpers/nbd-client.js';
import { RealCluster, withCluster } from '../helpers/real-cluster.js';
import { dog } from '../helpers/run-dog.js';
import { hostOf, withDoors } from './guest-setup.js';
import {
  check,
  type Finding,
  migrate,
  migrateWords,
  type Place,
  rulesOf,
  stateOn,
} from './vm-migrate-setup.js';
import { mustVm, plainDomain } from './vm-setup.js';

const MIB = 1024 * 1024;
const BODY_DEADLINE_MS = 300_000;
const CHECK_DEADLINE_MS = 60_000;
const EMULATOR = 'qemu-system-x86_64';

/** An emulator in a folder that each host has for itself, under one name. */
function installEmulator(folder: string, ...words: string[]): void {
  const path = join(folder, EMULATOR);
  writeFileSync(path, `#!/bin/sh\nexec /usr/bin/${EMULATOR} ${words.join(' ')} "$@"\n`);
  chmodSync(path, 0o755);
}

/** Two hosts whose emulators are not the same: that of beta lacks what new programs take for granted. */
function between(body: (cluster: RealCluster, here: Place, there: Place) => Promise<void>) {
  return () =>
    withCluster({ ...withDoors, deadlineMs: BODY_DEADLINE_MS }, async (cluster) => {
      const folders = ['alpha', 'beta'].map((name) => cluster.folderFor(`emulator-${name}`));
      installEmulator(folders[0]!);
      installEmulator(folders[1]!, '-global', 'max-x86_64-cpu.avx2=off');
      const hosts = ['alpha', 'beta'].map((name, index) => {
        const { runFolders } = hostOf(cluster, index, name);
        return { name, runFolders: { ...runFolders, emulator: folders[index]! } };
      });
      await withLibvirtds(hosts, (alpha, beta) =>
        body(cluster, { host: alpha!, sheep: 0 }, { host: beta!, sheep: 1 }),
      );
    });
}

/** A guest with a volume, running; its firmware finds nothing to start. */
async function start(cluster: RealCluster, { host, sheep }: Place, xml: string): Promise<void> {
  const name = /<name>([^<]+)/.exec(xml)![1]!;
  await cluster.call('vdi.create', { name, sizeBytes: 16 * MIB });
  await host.mustVirsh('define', '--validate', host.file(`${name}.xml`, xml));
  await mustVm(cluster, sheep, host, 'attach', name, name);
  await host.mustVirsh('start', name);
}

/** The command itself refuses, not only the look; the guest goes on, and nothing of it is at the destination. */
async function refuses(
  cluster: RealCluster,
  name: string,
  [from, to]: readonly [Place, Place],
  rule: string,
  ...more: string[]
): Promise<Finding> {
  const { exit, stdout, stderr } = await migrate(cluster, name, from, to, '--json', ...more);
  assert.is(exit, 1, `${rule}: ${stderr}`);
  const { findings } = JSON.parse(stdout) as { findings: Finding[] };
  assert.ok(rulesOf(findings).includes(rule), `${rule}: ${stdout}`);
  assert.is(await stateOn(from, name), 'running');
  return findings.find((finding) => finding.rule === rule)!;
}

const withLibvirt = requiresLibvirtd(test, 'qemu-img');

withLibvirt(
  'a sheep of another cluster, one that is silent, and others who use the volume are found out',
  between(async (cluster, here, there) => {
    const way = [here, there] as const;
    await start(cluster, here, plainDomain('web'));
    await addReadOnly(cluster, here);
    assert.equal((await check(cluster, 'web', here, there)).exit, 0);
    await unknownSheep(cluster, here, there);

    const other = await RealCluster.start({ sheep: 1 });
    try {
      await other.call('vdi.create', { name: 'web', sizeBytes: 16 * MIB });
      const port = `127.0.0.1:${other.sheep[0]!.port}`;
      const { text } = await refuses(cluster, 'web', way, 'other-cluster', '--to-sheep', port);
      assert.match(text, /^The sheep at \S+ is of another cluster/);
    } finally {
      await other.stop();
    }

    const client = await NbdClient.open(cluster.sheep[2]!.nbd, 'web');
    const used = await refuses(cluster, 'web', way, 'volume-in-use');
    assert.match(used.text, /^Volume web \(vda\) is in use by others beside the guest: 1 more by NBD\.$/);
    client.close();

    // Frozen first: a sheep that takes connections and answers nothing.
    process.kill(cluster.sheep[1]!.pid, 'SIGSTOP');
    await refuses(cluster, 'web', way, 'sheep-silent');
    await cluster.sheep[1]!.kill();
    await refuses(cluster, 'web', way, 'sheep-silent');
    await cluster.sheep[2]!.kill();
    await refuses(cluster, 'web', way, 'cluster-waits');
    await cluster.sheep[1]!.start();
    await cluster.sheep[2]!.start();
    await cluster.waitHealthy();
    assert.equal((await check(cluster, 'web', here, there)).exit, 0);
  }),
);

withLibvirt(
  'a processor, a machine, a name or a disk that the destination has no place for keeps the guest where it is',
  between(async (cluster, here, there) => {
    const way = [here, there] as const;
    const modern = plainDomain('modern')
      .replace('<devices>', "<cpu mode='host-model'/><devices>")
      .replace('/usr/bin/', '/run/emulator/');
    await start(cluster, here, modern);
    const lacking = await refuses(cluster, 'modern', way, 'cpu-lacking');
    assert.match(lacking.text, /cannot give: avx2\.$/);

    await start(cluster, here, plainDomain('web'));
    await addLocalDisk(here.host, 'web');
    const local = await refuses(cluster, 'web', way, 'disk-local');
    assert.match(
      local.text,
      /^The disk sdb of web is the file .*local\.img, which the destination does not have/,
    );
    await here.host.mustVirsh('detach-disk', 'web', 'sdb', '--persistent');
    await refuses(cluster, 'web', [here, here], 'same-host');

    await there.host.mustVirsh('define', there.host.file('web.xml', plainDomain('web')));
    assert.match((await refuses(cluster, 'web', way, 'name-taken')).text, /^Another domain of that name/);
    await there.host.mustVirsh('undefine', 'web');

    installEmulator(cluster.folderFor('emulator-alpha'));
    const own = plainDomain('own').replace('/usr/bin/', '/run/emulator/only-here/');
    installEmulator(cluster.folderFor('emulator-alpha/only-here'));
    await start(cluster, here, own);
    assert.match((await refuses(cluster, 'own', way, 'machine-unknown')).text, /only-here/);

    there.host.killDaemon();
    await refuses(cluster, 'web', way, 'destination-silent');
    await there.host.startDaemon();
    assert.equal(await there.host.mustVirsh('list', '--all', '--name'), '', 'nothing has arrived');

    await here.host.mustVirsh('destroy', 'web');
    const { findings } = await check(cluster, 'web', here, there);
    assert.equal(rulesOf(findings), ['not-running']);
  }),
);

/** A snapshot that another client reads as well: nobody can write it. */
async function addReadOnly(cluster: RealCluster, { host, sheep }: Place): Promise<void> {
  await cluster.call('vdi.create', { name: 'golden', sizeBytes: MIB });
  await cluster.call('vdi.snapshot', { name: 'golden', tag: 'clean' });
  await mustVm(cluster, sheep, host, 'attach', 'web', 'golden', '-s', 'clean', '--target', 'sdb');
}

/** All sheep of this cluster have the address of this machine: whose is the destination's, nobody told. */
async function unknownSheep(cluster: RealCluster, from: Place, to: Place): Promise<void> {
  const words = migrateWords(cluster, 'web', from, to).filter((word, at, all) => {
    return word !== '--to-sheep' && all[at - 1] !== '--to-sheep';
  });
  const { exit, stdout } = await dog([...words, '--check', '--json'], { deadlineMs: CHECK_DEADLINE_MS });
  assert.is(exit, 0, 'it is no reason to stay');
  const { findings } = JSON.parse(stdout) as { findings: Finding[] };
  assert.equal(rulesOf(findings, 'risk'), ['sheep-unknown']);
}

async function addLocalDisk(host: Libvirtd, name: string): Promise<void> {
  const path = host.file('local.img', '');
  writeFileSync(path, Buffer.alloc(MIB));
  await host.mustVirsh('attach-disk', name, path, 'sdb', '--targetbus', 'scsi', '--persistent');
}

test.run();
