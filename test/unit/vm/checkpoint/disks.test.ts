import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { AppError } from '../../../../src/base/errors.js';
import { checkpointDisks, devicesText } from '../../../../src/vm/checkpoint/disks.js';

const nbd = (target: string, name: string, more = '', device = 'disk') =>
  `<disk type='network' device='${device}'><source protocol='nbd' name='${name}'>
    <host transport='unix' socket='/ours'/></source><target dev='${target}' bus='virtio'/>${more}</disk>`;
const file = (target: string, more = '', device = 'disk') =>
  `<disk type='file' device='${device}'><source file='/x'/><target dev='${target}'/>${more}</disk>`;
const domain = (...devices: string[]) =>
  `<domain><name>web</name><devices>${devices.join('\n')}</devices></domain>`;
const isOurs = ({ place }: { place: object }) => 'socket' in place && place.socket === '/ours';

const refused = async (xml: string, what: RegExp) => {
  const error = await checkpointDisks(xml, isOurs).then(
    () => undefined,
    (reason: unknown) => reason,
  );
  assert.ok(AppError.isCode(error, 'not-supported') && what.test(error.message), String(error));
};

test('all that the guest can write is taken, and what it only reads is left', async () => {
  const xml = domain(
    nbd('vda', 'root'),
    nbd('vdb', 'data'),
    nbd('sda', 'iso', '<readonly/>', 'cdrom'),
    file('sdb', '', 'cdrom'),
    file('vdc', '<readonly/>'),
    nbd('vdd', 'golden@2'),
  );
  assert.equal(await checkpointDisks(xml, isOurs), [
    { target: 'vda', volume: 'root' },
    { target: 'vdb', volume: 'data' },
  ]);
});

test('what cannot be taken along is refused by its name', async () => {
  const root = nbd('vda', 'root');
  await refused(domain(root, file('vdb')), /disk vdb is not a volume/);
  await refused(domain(root, nbd('vdb', 'x').replace('/ours', '/theirs')), /disk vdb is not a volume/);
  await refused(domain(root, file('fda', '', 'floppy')), /disk fda/);
  await refused(domain(root, nbd('vdb', 'x', '<shareable/>')), /vdb is shared/);
  await refused(domain(root, nbd('vdb', 'root')), /volume root twice/);
  await refused(domain(root, "<hostdev mode='subsystem' type='pci'/>"), /device of the host/);
  await refused(domain(root, "<interface type='hostdev'/>"), /device of the host/);
  await refused(domain(file('vda', '<readonly/>')), /no volume of this cluster/);
});

test('a device that was plugged in is a change, and another amount of memory is none', () => {
  const one = domain(nbd('vda', 'root'));
  assert.is(devicesText(one), devicesText(one.replace('<name>', '<currentMemory/><name>')));
  assert.is.not(devicesText(one), devicesText(domain(nbd('vda', 'root'), nbd('vdb', 'x'))));
});

test.run();
