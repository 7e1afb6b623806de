import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { AppError } from '../../../src/base/errors.js';
import {
  DOMAIN_XML_BYTES_MAX,
  escapeXml,
  isSamePlace,
  parseDomain,
  parseXml,
  volumeOf,
} from '../../../src/vm/domain-xml.js';

const running = `<domain type='kvm' id='3'>
  <name>web &amp; mail</name>
  <uuid>c120bcc8-f30c-4197-86c7-c42f39fa73bc</uuid>
  <devices>
    <disk type='network' device='disk'>
      <driver name='qemu' type='raw' cache='none' discard='unmap'/>
      <source protocol='nbd' name='first' tls='no' index='2'>
        <host transport='unix' socket='/run/sheep0/nbd.sock'/>
        <reconnect delay='600'/>
      </source>
      <target dev='vda' bus='virtio'/>
      <alias name='virtio-disk0'/>
    </disk>
    <disk type='network' device='cdrom'>
      <source protocol='nbd' name='cd@1'><host name='10.0.0.1' port='10810'/></source>
      <target dev='sda' bus='sata'/><readonly/>
    </disk>
    <disk type='network' device='disk'>
      <source protocol='rbd' name='pool/x'><host name='10.0.0.1' port='6789'/></source>
      <target dev='vdb' bus='virtio'/>
    </disk>
    <disk type='file' device='cdrom'><target dev='sdb' bus='sata'/></disk>
  </devices>
</domain>`;

async function codeOf(work: Promise<unknown>): Promise<string> {
  try {
    await work;
  } catch (error) {
    return error instanceof AppError ? error.code : String(error);
  }
  return 'no error';
}

test('the NBD disks of a domain are told with place, name and driver', async () => {
  const domain = await parseDomain(running);
  assert.is(domain.name, 'web & mail');
  assert.equal(domain.targets, ['vda', 'sda', 'vdb', 'sdb']);
  assert.equal(
    domain.nbdDisks.map(({ element: _element, driver, ...rest }) => ({ ...rest, cache: driver.cache })),
    [
      {
        target: 'vda',
        bus: 'virtio',
        device: 'disk',
        exportName: 'first',
        place: { socket: '/run/sheep0/nbd.sock' },
        tls: false,
        readOnly: false,
        reconnectDelayS: 600,
        alias: 'virtio-disk0',
        sourceIndex: 2,
        cache: 'none',
      },
      {
        target: 'sda',
        bus: 'sata',
        device: 'cdrom',
        exportName: 'cd@1',
        place: { host: '10.0.0.1', port: 10810 },
        tls: false,
        readOnly: true,
        reconnectDelayS: undefined,
        alias: undefined,
        sourceIndex: undefined,
        cache: undefined,
      },
    ],
  );
});

test('a domain without devices has no disks', async () => {
  assert.equal((await parseDomain('<domain><name>x</name></domain>')).nbdDisks, []);
});

test('document types, broken XML, other documents and long ones are refused', async () => {
  const bomb = `<!DOCTYPE d [<!ENTITY a "aaaa">]><domain><name>&a;</name></domain>`;
  assert.is(await codeOf(parseDomain(bomb)), 'invalid');
  assert.is(await codeOf(parseDomain('<domain><name>&a;</name></domain>')), 'invalid');
  assert.is(await codeOf(parseDomain('<domain><name>x</domain>')), 'invalid');
  assert.is(await codeOf(parseDomain('')), 'invalid');
  assert.is(await codeOf(parseDomain('<network/>')), 'invalid');
  assert.is(await codeOf(parseDomain(`<domain>${' '.repeat(DOMAIN_XML_BYTES_MAX)}</domain>`)), 'invalid');
});

test('names that every object has are no attributes and no elements', async () => {
  const root = await parseXml('<domain a="1"><b/></domain>', 'domain');
  assert.is(root.attribute('constructor'), undefined);
  assert.equal(root.all('toString'), []);
  assert.is(root.attribute('a'), '1');
  assert.is(await codeOf(parseXml('<domain/>', 'constructor')), 'invalid');
});

test('places are the same by socket, or by host and port', () => {
  assert.ok(isSamePlace({ socket: '/a' }, { socket: '/a' }));
  assert.not(isSamePlace({ socket: '/a' }, { socket: '/b' }));
  assert.ok(isSamePlace({ host: 'h', port: 1 }, { host: 'h', port: 1 }));
  assert.not(isSamePlace({ host: 'h', port: 1 }, { host: 'h', port: 2 }));
  assert.not(isSamePlace({ host: 'h', port: 1 }, { socket: 'h' }));
});

test('an export is a volume, or a snapshot of one', () => {
  assert.equal(volumeOf('vol'), { volume: 'vol', snapshot: undefined });
  assert.equal(volumeOf('vol@monday'), { volume: 'vol', snapshot: 'monday' });
});

test('what is escaped is read as it was', async () => {
  const text = `a<b>&"c"'d' ü`;
  assert.is((await parseXml(`<x y="${escapeXml(text)}">${escapeXml(text)}</x>`, 'x')).attribute('y'), text);
  assert.is((await parseXml(`<x y="">${escapeXml(text)}</x>`, 'x')).text, text);
});

test.run();
