import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { parseOptions } from '../../bench/options.js';
import { targetNames } from '../../bench/targets.js';

/** As on a machine with all clients. */
const parse = (words: string[]) => parseOptions(words, () => true);

test('without --peers there are no peers, and help is asked for alone', () => {
  assert.is(parse(['--quick', '--json', 'x'])?.peers, undefined);
  assert.is(parse(['--help']), undefined);
});

test('peers have rows of their own, and with --only all others', () => {
  const names = (...words: string[]) => parse(['--peers', ...words])!.rows.map((row) => row.name);
  assert.is(names().length, 6);
  assert.ok(names('--only', '1 MiB').includes('1 MiB read, depth 4'));
  assert.not.ok(names().includes('1 MiB read, depth 4'));
});

test('with --all the peers have more depths and sizes, each row with a name of its own', () => {
  const names = parse(['--peers', '--all'])!.rows.map((row) => row.name);
  assert.is(new Set(names).size, 14);
  assert.equal(
    names.slice(0, 6),
    parse(['--peers'])!.rows.map((row) => row.name),
  );
});

test('the rows about a snapshot are chosen by name, too', () => {
  const settings = parse(['--peers', '--only', 'right after a snapshot'])!;
  assert.is(settings.rows.length, 0);
  assert.is(settings.peers?.snapshots, true);
  assert.is(parse(['--peers', '--only', '1 MiB'])?.peers?.snapshots, false);
});

test('Sheepfold is always a target, and unknown ones are named', () => {
  assert.equal(parse(['--peers', '--targets', 'raw,ceph'])?.peers?.targets, ['sheepfold', 'ceph', 'raw']);
  assert.equal(parse(['--peers'])?.peers?.targets, [...targetNames]);
  assert.throws(() => parse(['--peers', '--targets', 'drbd']), /no target drbd/);
});

test('a bound on steal is a percentage, and results have a plain name', () => {
  assert.is(parse(['--peers', '--steal', '2.5'])?.peers?.stolenShareMax, 0.025);
  assert.throws(() => parse(['--peers', '--steal', 'much']), /percentage/);
  assert.throws(() => parse(['--peers', '--results', '../x']), /--results/);
});

test('a C Sheepdog needs both of its programs', () => {
  const sheepdog = parse(['--peers', '--sheepdog', '/s', '--dog', '/d'])?.peers?.sheepdog;
  assert.equal(sheepdog, { sheep: '/s', dog: '/d' });
  assert.throws(() => parse(['--peers', '--sheepdog', '/s']), /go together/);
});

test('rows whose client is not installed are left out', () => {
  const rows = parseOptions([], (tool) => tool === 'qemu-img')!.rows;
  assert.ok(rows.length > 0 && rows.every((row) => row.client === 'qemu-img'));
});

test.run();
