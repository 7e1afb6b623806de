import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { AppError } from '../../../src/base/errors.js';
import type { Op } from '../../../src/coord/coordinator.js';
import type { RequestOp } from '../../../src/coord/etcd/messages.js';
import { rpcMethods } from '../../../src/coord/etcd/rpc-schema.js';
import { prefixRange, txnRequest } from '../../../src/coord/etcd/txn-request.js';

const put = (key: string, value = ''): Op => ({ type: 'put', key, value });
const del = (key: string): Op => ({ type: 'delete', key });
const prefix = (text: string): Op => ({ type: 'delete-prefix', prefix: text });

/** `+k=v`, `-k` or `-[from,to)`, the prefix /p/ left away. */
function shown(op: RequestOp): string {
  const text = (bytes: Buffer): string => bytes.toString().replace('/p/', '').replaceAll('\0', '.');
  if ('requestPut' in op) return `+${text(op.requestPut.key)}=${op.requestPut.value}`;
  if ('requestTxn' in op) return `(${op.requestTxn.success.length})`;
  const { key, rangeEnd } = op.requestDeleteRange;
  return rangeEnd ? `-[${text(key)},${text(rangeEnd)})` : `-${text(key)}`;
}

function request(...ops: Op[]): string[] {
  return txnRequest('/p/', [], ops).success.map(shown);
}

test('only the last operation on a key is asked for', () => {
  assert.equal(request(put('a', '1'), put('a', '2'), del('b'), put('b', '3'), put('c'), del('c')), [
    '+a=2',
    '+b=3',
    '-c',
  ]);
});

test('a deleted prefix leaves out what is put under it later', () => {
  assert.equal(request(put('x/1'), prefix('x/'), put('x/2', 'n'), put('y')), [
    '-[x/,x/2)',
    '-[x/2.,x0)',
    '+x/2=n',
    '+y=',
  ]);
  assert.equal(request(prefix('x/'), put('x/')), ['-[x/.,x0)', '+x/=']);
});

test('deletions under a deleted prefix are left out, prefixes in prefixes too', () => {
  assert.equal(request(del('x/1'), prefix('x/a/'), prefix('x/'), prefix('x/b/'), del('x/2')), ['-[x/,x0)']);
});

test('a prefix ends where its last byte that can rises', () => {
  const hex = (text: string): string => prefixRange(text).rangeEnd.toString('hex');
  assert.is(hex('a/'), '6130');
  assert.is(hex(''), '00');
  assert.equal(prefixRange('').key, Buffer.alloc(1));
});

test('operations beyond the limit of one level are nested, and too many are refused', () => {
  const puts = (count: number): Op[] => Array.from({ length: count }, (_, i) => put(`k${i}`));
  const compares = (count: number): { key: string; exists: boolean }[] =>
    Array.from({ length: count }, (_, i) => ({ key: `c${i}`, exists: true }));
  const groups = (count: number, keys: number): string[] =>
    txnRequest('/p/', compares(count), puts(keys)).success.map(shown);
  assert.is(groups(128, 128).length, 128);
  assert.equal(groups(0, 129), ['(126)', '(3)']);
  assert.is(groups(100, 2800).length, 100);
  assert.throws(
    () => groups(100, 2801),
    (error: unknown) => AppError.isCode(error, 'invalid'),
  );
  assert.throws(
    () => groups(129, 0),
    (error: unknown) => AppError.isCode(error, 'invalid'),
  );
});

test('comparisons and operations are encoded as etcd has them', () => {
  const txn = txnRequest(
    '/',
    [
      { key: 'a', exists: true },
      { key: 'b', value: 'v' },
      { key: 'c', modRevision: 7 },
    ],
    [{ type: 'put', key: 'd', value: 'w', lease: '1f' }, del('e')],
  );
  const expected = [
    // Each comparison: result, target, key, and what is compared.
    ...['0a0a', '0801', '1001', '1a022f61', '2800'],
    ...['0a0b', '0800', '1003', '1a022f62', '3a0176'],
    ...['0a0a', '0800', '1002', '1a022f63', '3007'],
    // Each operation: put (key, value, lease), delete (key).
    ...['120b', '1209', '0a022f64', '120177', '181f'],
    ...['1206', '1a04', '0a022f65'],
  ].join('');
  assert.is(rpcMethods.txn.requestSerialize(txn).toString('hex'), expected);
});

test.run();
