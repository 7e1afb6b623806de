import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { vdiListRaw, vdiListRow, vdiTree } from '../../../src/cli/output.js';
import type { VdiInfo } from '../../../src/control/api.js';

const createdMs = new Date(2026, 10, 22, 23, 55, 46).getTime();

function vdi(extra: Partial<VdiInfo>): VdiInfo {
  return {
    name: 'alpha',
    tag: '',
    snapId: 0,
    vid: 0xed2030,
    parentVid: 0,
    rootVid: 0,
    snapshot: false,
    clone: false,
    sizeBytes: 128 * 2 ** 20,
    usedBytes: 0,
    sharedBytes: 0,
    copies: 3,
    blockSizeShift: 22,
    createdMs,
    snapshotMs: 0,
    ...extra,
  };
}

test('rows of the table have the columns of the original', () => {
  const mib = 2 ** 20;
  assert.is(
    vdiListRow(vdi({ usedBytes: 4 * mib, sharedBytes: 12 * mib })),
    '  alpha        0  128 MB  4.0 MB   12 MB 2026-11-22 23:55   ed2030      3                22',
  );
  assert.is(
    vdiListRow(vdi({ snapshot: true, snapId: 1, tag: 's1', usedBytes: 16 * mib, vid: 0xed202b })),
    's alpha        1  128 MB   16 MB  0.0 MB 2026-11-22 23:55   ed202b      3            s1  22',
  );
  assert.is(
    vdiListRow(vdi({ name: 'cl2', clone: true, sharedBytes: 16 * mib, vid: 0x42558 })),
    'c cl2          0  128 MB  0.0 MB   16 MB 2026-11-22 23:55    42558      3                22',
  );
});

test('raw lines have exact bytes, seconds, and escaped names', () => {
  const seconds = Math.floor(createdMs / 1000);
  assert.is(vdiListRaw(vdi({})), `= alpha 0 134217728 0 0 ${seconds} ed2030 3  22`);
  assert.is(
    vdiListRaw(vdi({ snapshot: true, snapId: 4, tag: 's4' })),
    `s alpha 4 134217728 0 0 ${seconds} ed2030 3 s4 22`,
  );
  assert.match(vdiListRaw(vdi({ name: 'with space\\x', clone: true })), /^c with\\ space\\\\x 0 /);
});

test('a tree draws a line per name and a branch per rollback', () => {
  const time = '[2026-11-22 23:55]';
  const family = [
    vdi({ name: 'cl2', vid: 5, parentVid: 12, clone: true }),
    vdi({ vid: 10, snapshot: true }),
    vdi({ vid: 11, parentVid: 10, snapshot: true }),
    vdi({ vid: 12, parentVid: 11, snapshot: true }),
    vdi({ vid: 14, parentVid: 10 }),
    vdi({ name: 'zeta', vid: 20 }),
  ];
  assert.is(
    vdiTree(family),
    `cl2---(you are here)
alpha---${time}-+-${time}---${time}
                           \`-(you are here)
zeta---(you are here)
`,
  );
});

test('a tree with three branches keeps its trunk', () => {
  const time = '[2026-11-22 23:55]';
  const family = [
    vdi({ name: 'a', vid: 1, snapshot: true }),
    vdi({ name: 'a', vid: 2, parentVid: 1, snapshot: true }),
    vdi({ name: 'a', vid: 3, parentVid: 1, snapshot: true }),
    vdi({ name: 'a', vid: 4, parentVid: 2, snapshot: true }),
    vdi({ name: 'a', vid: 5, parentVid: 2, snapshot: true }),
    vdi({ name: 'a', vid: 6, parentVid: 1 }),
  ];
  assert.is(
    vdiTree(family),
    `a---${time}-+-${time}-+-${time}
                       |                    \`-${time}
                       |-${time}
                       \`-(you are here)
`,
  );
});

test.run();
