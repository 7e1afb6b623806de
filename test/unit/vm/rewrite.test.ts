import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { AppError } from '../../../src/base/errors.js';
import type { NbdDisk, NbdPlace } from '../../../src/vm/domain-xml.js';
import { rewritePlaces } from '../../../src/vm/rewrite.js';

const local: NbdPlace = { socket: "/run/o'clock & co/nbd.sock" };
const localXml = "<host transport='unix' socket='/run/o&#39;clock &#38; co/nbd.sock'/>";

function domain(host: string, backing = ''): string {
  return `<domain xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
  <name>web</name>
  <metadata>
    <x:note xmlns:x='urn:x'>a <x:b/> c<!-- <disk> --></x:note>
  </metadata>
  <devices>
    <disk type='file' device='disk'>
      <source file='/a'/>
      <target dev='sda'/>
    </disk>
    <disk type='network' device='disk'>
      <driver name='qemu' type='raw'/>
      <source protocol='nbd' name='a' index='1'>
        ${host}
        <privateData/>
      </source>
      ${backing}
      <target dev='vda' bus='virtio'/>
    </disk>
  </devices>
  <qemu:commandline><qemu:arg value='-x'/></qemu:commandline>
</domain>
`;
}

const toLocal = () => local;

test('the host of the disk changes, and not a character else', async () => {
  const forms = [
    "<host transport='unix' socket='/run/there/nbd.sock'/>",
    "<host name='10.0.0.1' port='10809'/>",
    "<host name='10.0.0.1'></host>",
  ];
  for (const form of forms) assert.is(await rewritePlaces(domain(form), toLocal), domain(localXml), form);
});

test('hosts of backing files and mirrors stay', async () => {
  const backing = `<backingStore><source protocol='nbd' name='b'><host name='h' port='1'/></source></backingStore>`;
  const there = "<host name='10.0.0.1' port='1'/>";
  assert.is(await rewritePlaces(domain(there, backing), toLocal), domain(localXml, backing));
});

test('what is in its place already, or has none, stays as it is', async () => {
  const there = domain("<host name='10.0.0.1' port='1'/>");
  assert.is(await rewritePlaces(there, () => undefined), there);
  assert.is(await rewritePlaces(there, ({ place }: NbdDisk) => place), there);
  assert.is(await rewritePlaces('<domain/>', toLocal), '<domain/>');
});

test('a definition in which the host cannot be found by its text is refused', async () => {
  const commented = domain("<!-- <host name='x'/> --><host name='10.0.0.1' port='1'/>");
  try {
    await rewritePlaces(commented, toLocal);
    assert.unreachable();
  } catch (error) {
    assert.ok(AppError.isCode(error, 'invalid'), String(error));
  }
});

test.run();
