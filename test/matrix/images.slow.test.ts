// deadline: 200 s
/** The matrix: whole images in and out. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Bench, defineGroup } from './matrix.js';
import { create, MIB, OBJECT_BYTES, read, versions, write } from './volumes.js';

/** Data, a hole, an object that is full, a part of the last one; no multiple of an object. */
function image(): Buffer {
  const bytes = Buffer.alloc(5 * OBJECT_BYTES + MIB);
  const put = (from: number, to: number): void => {
    for (let at = from; at < to; at += 4) bytes.writeUInt32LE((at * 2_654_435_761) >>> 0, at);
  };
  put(0, MIB);
  put(2 * OBJECT_BYTES, 3 * OBJECT_BYTES);
  put(bytes.length - 4096, bytes.length);
  return bytes;
}

async function convertsIn(bench: Bench, mustExist: boolean): Promise<void> {
  const { driver, cluster, name } = bench;
  const bytes = image();
  const file = join(cluster.folderFor('images'), `${name}.raw`);
  writeFileSync(file, bytes);
  if (mustExist) await create(cluster, name, bytes.length);
  const { url } = await driver.target(name);
  await driver.img('convert', ...(mustExist ? ['-n'] : []), '-f', 'raw', '-O', 'raw', file, url);
  assert.is((await versions(cluster, name))[0]?.sizeBytes, bytes.length);
  assert.ok((await read(cluster, { name }, 0, bytes.length)).equals(bytes), 'the volume is the image');
}

async function convertsOut({ driver, cluster, name }: Bench): Promise<void> {
  const bytes = image();
  await create(cluster, name, bytes.length);
  await write(cluster, name, bytes);
  const { url } = await driver.target(name);
  const raw = join(cluster.folderFor('images'), `${name}.raw`);
  await driver.img('convert', '-f', 'raw', '-O', 'raw', url, raw);
  assert.ok(readFileSync(raw).equals(bytes), 'the image is the volume');
  const qcow2 = join(cluster.folderFor('images'), `${name}.qcow2`);
  await driver.img('convert', '-f', 'raw', '-O', 'qcow2', url, qcow2);
  await driver.img('compare', '-f', 'qcow2', '-F', 'raw', qcow2, url);
}

const makesIt = (bench: Bench) => convertsIn(bench, false);
const fillsIt = (bench: Bench) => convertsIn(bench, true);

defineGroup('3-images', {
  'convert in': { old: makesIt, nbd: fillsIt, helper: makesIt, tgt: fillsIt },
  'convert out': { old: convertsOut, nbd: convertsOut, helper: convertsOut, tgt: convertsOut },
});

test.run();
