/** What a definition says that matters on the way. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { localFileSystem, readMovingDomain } from '../../../../src/vm/migrate/moving-domain.js';

const disk = (inner: string, attributes = "type='file' device='disk'") =>
  `<disk ${attributes}>${inner}</disk>`;
const nbd = (name: string) =>
  `<source protocol='nbd' name='${name}'><host transport='unix' socket='/s'/></source><target dev='vda'/>`;

function domain(devices: string): string {
  return `<domain type='kvm'><name>web</name><uuid>u-1</uuid><memory unit='MiB'>512</memory>
<os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type></os><cpu mode='host-passthrough'/>
<devices><emulator>/usr/bin/qemu</emulator>${devices}</devices></domain>`;
}

const read = (devices: string) =>
  readMovingDomain(
    domain(devices),
    ({ exportName }) => exportName === 'ours',
    (path) => (path.startsWith('/nfs/') ? 'shared' : 'local'),
  );

test('machine, memory and processor', async () => {
  const { disks, ...rest } = await read('');
  assert.equal(disks, []);
  assert.equal(rest, {
    ...{ name: 'web', uuid: 'u-1', type: 'kvm', arch: 'x86_64', machine: 'pc-q35-7.2' },
    ...{ emulator: '/usr/bin/qemu', memoryBytes: 512 * 2 ** 20, cpuMode: 'host-passthrough' },
    ...{ networks: [], hostBound: [] },
  });
});

test('each kind of disk', async () => {
  const { disks } = await read(
    [
      disk(nbd('ours'), "type='network' device='disk'"),
      disk(`${nbd('other')}<shareable/>`, "type='network' device='disk'"),
      disk("<source file='/nfs/a'/><target dev='vdb'/>"),
      disk("<source file='/srv/cd.iso'/><target dev='sda'/><readonly/>", "type='file' device='cdrom'"),
      disk("<target dev='sdb'/>", "type='file' device='cdrom'"),
      disk("<source dev='/dev/sdx'/><target dev='vdc'/>", "type='block' device='disk'"),
      disk("<source pool='p' volume='v'/><target dev='vdd'/>", "type='volume' device='disk'"),
      disk("<source protocol='rbd' name='x'/><target dev='vde'/>", "type='network' device='disk'"),
      disk("<source type='unix' path='/x'/><target dev='vdf'/>", "type='vhostuser' device='disk'"),
    ].join(''),
  );
  const told = disks.map(({ target, writable, shareable, content }) => {
    const { nbd: _, ...rest } = { nbd: undefined, ...content };
    return [target, writable, shareable, rest];
  });
  assert.equal(told, [
    ['vda', true, false, { kind: 'volume' }],
    ['vda', true, true, { kind: 'nbd' }],
    ['vdb', true, false, { kind: 'file', path: '/nfs/a', fileSystem: 'shared' }],
    ['sda', false, false, { kind: 'file', path: '/srv/cd.iso', fileSystem: 'local' }],
    ['sdb', false, false, { kind: 'empty' }],
    ['vdc', true, false, { kind: 'device', path: '/dev/sdx' }],
    ['vdd', true, false, { kind: 'pool', name: 'p' }],
    ['vde', true, false, { kind: 'network', protocol: 'rbd' }],
    ['vdf', true, false, { kind: 'other', type: 'vhostuser' }],
  ]);
});

test('networks once each, and what cannot leave its host', async () => {
  const { networks, hostBound } = await read(`<interface type='network'><source network='lan'/></interface>
<interface type='network'><source network='lan'/></interface><interface type='user'/><interface type='hostdev'/>
<hostdev mode='subsystem' type='pci'/><filesystem><source dir='/srv'/></filesystem>`);
  assert.equal(networks, ['lan']);
  assert.equal(hostBound, ['a pci device', 'a network card', 'the directory /srv']);
});

test('a definition that is none is refused', async () => {
  const wrong = ['<domain/>', '<network/>', 'no xml', '<!DOCTYPE domain><domain/>'];
  for (const xml of wrong) {
    const outcome = await readMovingDomain(
      xml,
      () => false,
      () => 'local',
    ).catch((error: { code?: string }) => error.code);
    assert.is(outcome, 'invalid', xml);
  }
});

test('the file system of this folder is known, that of a folder that is not there is not', () => {
  assert.is(localFileSystem(import.meta.filename), 'local');
  assert.is(localFileSystem('/not/there/at/all'), 'unknown');
});

test.run();
