import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { cephConfig, placementIsClean } from '../../bench/peers/ceph.js';
import { bricksAreOnline, glusterdConfig, glusterRole } from '../../bench/peers/gluster.js';
import { guarantees } from '../../bench/peers/guarantees.js';
import { peerRows } from '../../bench/peers/rows.js';
import { sheepWords } from '../../bench/peers/sheepdog.js';
import { versionIn } from '../../bench/peers/versions.js';
import { targetNames } from '../../bench/targets.js';

test('Ceph keeps three copies, writes with two, listens on loopback, and asks for no keys', () => {
  const text = cephConfig({ folder: '/f', fsid: 'id', port: 1, oldPort: 2, storeBytes: 3 });
  for (const line of [
    'osd pool default size = 3',
    'osd pool default min size = 2',
    'bluestore block size = 3',
  ])
    assert.ok(text.includes(`${line}\n`), line);
  assert.match(text, /^\[global\]\nfsid = id\n/);
  assert.match(text, /mon host = \[v2:127\.0\.0\.1:1\/0,v1:127\.0\.0\.1:2\/0\]/);
  assert.is(text.match(/auth \w+ required = none/g)?.length, 3);
  const paths = text.split('\n').flatMap((line) => / = (\/.*)$/.exec(line)?.[1] ?? []);
  assert.ok(paths.length > 5 && paths.every((path) => path.startsWith('/f')));
});

test('Ceph is ready when all of its placement groups are active and clean', () => {
  const status = (count: number, state: string) =>
    JSON.stringify({ pgmap: { num_pgs: 33, pgs_by_state: [{ state_name: state, count }] } });
  assert.ok(placementIsClean(status(33, 'active+clean')));
  assert.not.ok(placementIsClean(status(32, 'active+clean')));
  assert.not.ok(placementIsClean(status(33, 'creating+peering')));
  assert.not.ok(placementIsClean('{"pgmap":{"num_pgs":0,"pgs_by_state":[]}}'));
});

test('GlusterFS is ready when three bricks are online, whatever else runs', () => {
  const node = (path: string, status: number) =>
    `<node><path>${path}</path><status>${status}</status></node>`;
  const bricks = [0, 1].map((index) => node(`/f/brick${index}`, 1)).join('');
  assert.ok(bricksAreOnline(`<volume>${bricks}${node('/f/brick2', 1)}${node('localhost', 0)}</volume>`));
  assert.not.ok(bricksAreOnline(`<volume>${bricks}${node('/f/brick2', 0)}</volume>`));
  assert.not.ok(bricksAreOnline(`<volume>${bricks}</volume>`));
});

test('the processes of GlusterFS are told by their programs', () => {
  assert.is(glusterRole(['/usr/sbin/glusterfsd', '-s', 'x']), 'brick');
  assert.is(glusterRole(['/usr/sbin/glusterfs', '-s', 'x']), 'self-heal');
  assert.is(glusterRole(['glusterd', '-N']), 'glusterd');
  assert.is(glusterRole(['unshare', '--mount', 'glusterd']), undefined);
  assert.match(glusterdConfig('/f'), /working-directory \/f\/work\n/);
});

test('each sheep of C Sheepdog has a zone, a port and a store of its own', () => {
  const words = sheepWords('/f', 7000, 2).join(' ');
  assert.is(words, '-f -c local:/f/members -z 2 -b 127.0.0.1 -y 127.0.0.1 -p 7002 /f/store2');
});

test('every target says where its writes are', () => {
  for (const name of targetNames) assert.ok(guarantees[name].plain !== '' && guarantees[name].durable !== '');
  assert.match(guarantees.gluster.plain, /before it is durable/);
});

test('all writes that are compared are durable, and those of 4 KiB are scattered', () => {
  const rows = peerRows(2 ** 30);
  assert.is(rows.length, 6);
  for (const row of rows) {
    assert.is(row.durable === 'no', row.direction === 'read');
    assert.is(row.scatteredOverBytes !== undefined, row.blockBytes === 4096);
  }
});

test('a version is the first number with a dot', () => {
  assert.is(versionIn('ceph version 16.2.15 (abc123) pacific (stable)'), '16.2.15');
  assert.is(versionIn('nothing'), 'unknown');
});

test.run();
