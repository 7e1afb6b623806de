import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Column, parseTable, renderTable, type Table } from '../../helpers/command-table.js';

const column = (virsh: string, outcomes: Record<string, string>): Column => ({
  versions: { virsh, daemon: 'ours' },
  outcomes: new Map(Object.entries(outcomes)),
});
const table: Table = new Map([
  ['own', column('9.0.0', { 'vol-wipe': 'done', 'pool-delete': 'cannot: [1] is 2.', 'pool-build': 'done' })],
  ['sheepfs', column('9.0.0', { 'vol-wipe': 'no time', 'pool-delete': 'cannot: [1] is 2.' })],
]);

test('a table is read back as it was written, whatever the blanks', () => {
  const text = renderTable(table);
  assert.equal(parseTable(text), table);
  assert.equal(parseTable(text.replaceAll(/ +\|/g, ' |').replaceAll(/-{4,}/g, '---')), table);
  assert.equal(parseTable(''), new Map());
});

test('rows are sorted, and one note stands for all cells that say the same', () => {
  const lines = renderTable(table).split('\n');
  const rows = lines.filter((line) => line.startsWith('| `')).map((line) => line.replaceAll(/ +/g, ' '));
  assert.equal(rows, [
    '| `pool-build` | done | - | - | - | - |',
    '| `pool-delete` | no [1] | - | - | no [1] | - |',
    '| `vol-wipe` | done | - | - | no [2] | - |',
  ]);
  assert.equal(lines.slice(-4), ['', '1. cannot: [1] is 2.', '2. no time', '']);
});

test('a column replaced changes no other', () => {
  const changed = new Map(parseTable(renderTable(table)));
  changed.set('own', column('11.3.0', { 'vol-wipe': 'no time', 'pool-new': 'done' }));
  const back = parseTable(renderTable(changed));
  assert.equal(back.get('sheepfs'), table.get('sheepfs'));
  assert.equal(back.get('own'), changed.get('own'));
});

test.run();
