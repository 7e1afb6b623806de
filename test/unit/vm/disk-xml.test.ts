import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { busOfTarget, type DiskSpec, diskXml, freeTarget, knowsReconnect } from '../../../src/vm/disk-xml.js';
import { nbdDisk, parseXml } from '../../../src/vm/domain-xml.js';

const spec: DiskSpec = {
  exportName: 'first',
  door: { place: { socket: '/run/sheep/nbd.sock' }, tls: false },
  target: 'vda',
  bus: 'virtio',
  device: 'disk',
  readOnly: false,
};
const old = { major: 9, minor: 0, patch: 0 };
const today = { major: 11, minor: 3, patch: 0 };

test("a volume's disk, for a libvirt that can make it wait for its sheep", () => {
  assert.is(
    diskXml(spec, today),
    `<disk type='network' device='disk'>
  <driver name='qemu' type='raw' cache='none' error_policy='stop' discard='unmap'/>
  <source protocol='nbd' name='first'>
    <host transport='unix' socket='/run/sheep/nbd.sock'/>
    <reconnect delay='600'/>
  </source>
  <target dev='vda' bus='virtio'/>
  <alias name='ua-sheepfold-vda'/>
</disk>
`,
  );
});

test('a snapshot as a CD over TCP and TLS, for a libvirt that drops what it does not know', () => {
  const place = { host: '10.0.0.1', port: 10810 };
  const cd: DiskSpec = {
    exportName: 'cd@2',
    door: { place, tls: true },
    target: 'sda',
    bus: 'sata',
    device: 'cdrom',
    readOnly: true,
    bootOrder: 2,
  };
  assert.is(
    diskXml(cd, old),
    `<disk type='network' device='cdrom'>
  <driver name='qemu' type='raw' cache='none' error_policy='stop' discard='unmap'/>
  <source protocol='nbd' name='cd@2' tls='yes'>
    <host name='10.0.0.1' port='10810'/>
  </source>
  <target dev='sda' bus='sata'/>
  <readonly/>
  <boot order='2'/>
  <alias name='ua-sheepfold-sda'/>
</disk>
`,
  );
});

test('libvirt keeps the delay from 9.2 on', () => {
  const versions = [
    [9, 0],
    [9, 1],
    [9, 2],
    [10, 0],
  ].map(([major, minor]) => knowsReconnect({ major: major!, minor: minor!, patch: 9 }));
  assert.equal(versions, [false, false, true, true]);
});

test('names with characters of XML are read back as they are', async () => {
  const name = `a'b"<&>`;
  const place = { socket: `/x'y&z` };
  const xml = diskXml({ ...spec, exportName: name, door: { place, tls: false } }, today);
  const disk = nbdDisk(await parseXml(xml, 'disk'));
  assert.is(disk?.exportName, name);
  assert.equal(disk?.place, place);
});

test('a disk gets the first free name of its bus', () => {
  assert.is(freeTarget('virtio', []), 'vda');
  assert.is(freeTarget('virtio', ['vda', 'sda', 'vdc']), 'vdb');
  assert.is(freeTarget('sata', ['sda']), 'sdb');
  const all = Array.from('abcdefghijklmnopqrstuvwxyz', (letter) => `vd${letter}`);
  assert.is(freeTarget('virtio', all), 'vdaa');
  assert.is(freeTarget('virtio', [...all, 'vdaa']), 'vdab');
});

test('the bus follows from a name', () => {
  assert.equal(['vdb', 'sdaa', 'hdc', 'xvda', 'vd', "vda'"].map(busOfTarget), [
    'virtio',
    'scsi',
    'ide',
    undefined,
    undefined,
    undefined,
  ]);
});

test.run();
