import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { AppError } from '../../../../src/base/errors.js';
import type { VdiInfo } from '../../../../src/control/api.js';
import { type FoundState, takeInventory } from '../../../../src/vm/checkpoint/inventory.js';
import { encodeManifest, type Manifest, parseManifest } from '../../../../src/vm/checkpoint/manifest.js';
import { imageNameOf, tagOf } from '../../../../src/vm/checkpoint/names.js';
import { encodeHead } from '../../../../src/vm/checkpoint/save-image.js';

const manifest: Manifest = {
  id: '0123456789ab',
  domain: 'web',
  uuid: '66604bad-9b8c-4d8b-878c-558dec744da3',
  name: 'monday',
  running: true,
  qemu: '7.2.22',
  disks: [
    { target: 'vda', volume: 'root' },
    { target: 'vdb', volume: 'data' },
  ],
};
const other = 'ffffffffffff';

const vdi = (name: string, tag = ''): VdiInfo => ({ name, tag, snapshot: tag !== '' }) as VdiInfo;
const snapshot = (volume: string, id = manifest.id, name = manifest.name) => vdi(volume, tagOf({ name, id }));
const state = (changed: Partial<Manifest> = {}): FoundState => {
  const note = encodeManifest({ ...manifest, ...changed });
  return { image: vdi(imageNameOf(manifest)), head: encodeHead({ xml: '<domain/>', note, running: true }) };
};
const idsOf = (vdis: readonly VdiInfo[], states: readonly FoundState[]) =>
  takeInventory(vdis, states).orphans.map(({ id }) => id);

test('a checkpoint is its state and a snapshot of each of its disks', () => {
  const vdis = [vdi('root'), snapshot('root'), snapshot('data'), vdi('root', 'mine')];
  const { checkpoints, orphans } = takeInventory(vdis, [state()]);
  assert.equal(orphans, []);
  assert.is(checkpoints.length, 1);
  const [found] = checkpoints;
  assert.equal(found!.manifest, manifest);
  assert.is(found!.broken, undefined);
  assert.equal(
    found!.snapshots.map(({ name }) => name),
    ['root', 'data'],
  );
});

test('one whose snapshot somebody deleted is broken, and stays', () => {
  const { checkpoints, orphans } = takeInventory([snapshot('root')], [state()]);
  assert.match(checkpoints[0]!.broken!, /no snapshot any more of data \(vdb\)/);
  assert.equal(orphans, []);
});

test('snapshots without a state are debris of their run, and no others are', () => {
  const vdis = [snapshot('root'), snapshot('data'), snapshot('root', other), vdi('root', 'mine')];
  assert.equal(idsOf(vdis, [state()]), [other]);
  assert.equal(idsOf(vdis, []), [manifest.id, other]);
  assert.equal(takeInventory(vdis, []).orphans[0]!.snapshots.length, 2);
});

test('a state that cannot be read is broken, and protects all snapshots of its name', () => {
  const vdis = [snapshot('root'), snapshot('root', other), snapshot('root', 'eeeeeeeeeeee', 'tuesday')];
  const unread: FoundState = { image: vdi(imageNameOf(manifest)), head: new AppError('invalid', 'cut off') };
  const { checkpoints } = takeInventory(vdis, [unread]);
  assert.is(checkpoints[0]!.broken, 'cut off');
  assert.equal(idsOf(vdis, [unread]), ['eeeeeeeeeeee']);
});

test('a manifest is read as it was written, and refused when it is none', () => {
  assert.equal(parseManifest(encodeManifest(manifest)), manifest);
  const bad = [
    '',
    'null',
    '[]',
    encodeManifest({ ...manifest, id: '../../etc' }),
    encodeManifest({ ...manifest, domain: '' }),
    encodeManifest({ ...manifest, disks: [{ target: 'vda' }] as never }),
    encodeManifest({ ...manifest, disks: Array(2000).fill(manifest.disks[0]) }),
    encodeManifest(manifest).replace('"format":1', '"format":2'),
  ];
  for (const text of bad)
    assert.throws(
      () => parseManifest(text),
      (error: unknown) => AppError.isCode(error, 'invalid'),
      text.slice(0, 80),
    );
});

test.run();
