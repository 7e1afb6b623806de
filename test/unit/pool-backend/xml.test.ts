/** Pools and volumes as XML, and XML that means harm. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { mergeCapabilities, poolCapabilities } from '../../../pool-backend/pools/capabilities.js';
import { formatPool, parsePool } from '../../../pool-backend/pools/pool-xml.js';
import { formatVolume, parseVolume } from '../../../pool-backend/pools/volume-xml.js';
import { readXml, XML_BYTES_MAX } from '../../../pool-backend/pools/xml-reader.js';
import { LibvirtError } from '../../../pool-backend/rpc/errors.js';

const pool = (inside: string): string => `<pool type='sheepdog'><name>vms</name>${inside}</pool>`;
const HOST = "<source><host name='h' port='7001'/></source>";

async function refusal(work: Promise<unknown>): Promise<string> {
  try {
    await work;
  } catch (error) {
    if (error instanceof LibvirtError) return `${error.kind}: ${error.message}`;
    throw error;
  }
  throw new Error('it was accepted');
}

test('a pool is read, written, and read again as the same', async () => {
  const uuid = '11111111-2222-3333-4444-555555555555';
  const xml = pool(`<uuid>${uuid}</uuid><source><host name='h' port='7001'/><name>ns</name></source>`);
  const definition = await parsePool(xml);
  assert.equal(definition, { name: 'vms', uuid, host: 'h', port: 7001, namespace: 'ns' });
  assert.equal(await parsePool(formatPool(definition)), definition);
});

test('no port and port 0 mean 7000; no source name and "/" mean what is outside of namespaces', async () => {
  const without = await parsePool(pool("<source><host name='h'/><name>/</name></source>"));
  assert.equal([without.port, without.namespace], [7000, '']);
  assert.is((await parsePool(pool("<source><host name='h' port='0'/></source>"))).port, 7000);
});

test('characters that mean something in XML come through', async () => {
  const definition = await parsePool(
    `<pool type="sheepdog"><name>a&amp;b &lt;"'&#xe9;</name><source><host name='h'/></source></pool>`,
  );
  assert.is(definition.name, `a&b <"'é`);
  assert.is((await parsePool(formatPool(definition))).name, definition.name);
});

for (const [what, xml, expected] of [
  ['no name', "<pool type='sheepdog'/>", /missing pool source name element/],
  ['no type', '<pool><name>a</name></pool>', /missing type attribute/],
  ['another type', "<pool type='rbd'><name>a</name></pool>", /missing backend/],
  ['another root', '<volume/>', /unexpected root element, expecting <pool>/],
  ['a slash in the name', `<pool type='sheepdog'><name>../x</name>${HOST}</pool>`, /cannot contain '\/'/],
  ['two dots as the name', `<pool type='sheepdog'><name>..</name>${HOST}</pool>`, /no name for a pool/],
  ['no host', pool('<source/>'), /missing storage pool source host name/],
  ['two hosts', pool("<source><host name='a'/><host name='b'/></source>"), /exactly 1 host/],
  ['a port beyond all', pool("<source><host name='a' port='70000'/></source>"), /Invalid port/],
  ['a bad uuid', pool(`<uuid>1</uuid>${HOST}`), /malformed uuid/],
  ['a separator', pool("<source><host name='h'/><name>a~b</name></source>"), /must not contain/],
  ['an entity', `<!DOCTYPE p [<!ENTITY a "b">]>${pool(HOST)}`, /document type/],
  ['a file as an entity', `<!DOCTYPE p SYSTEM "file:///etc/passwd">${pool(HOST)}`, /document type/],
  ['an entity nobody defined', pool(`<uuid>&x;</uuid>${HOST}`), /entity/],
  ['two roots', `${pool(HOST)}<pool/>`, /extra content/],
  ['no end', '<pool type="sheepdog"><name>', /XML error/],
  ['nothing', '', /XML error/],
  ['depth', pool('<a>'.repeat(40) + '</a>'.repeat(40)), /nested deeper/],
  ['depth behind attributes', pool('<a b="/>">'.repeat(40) + '</a>'.repeat(40)), /nested deeper/],
  ['many elements', pool('<a/>'.repeat(5000)), /more than 4096/],
  ['comments without an end', '<!--'.repeat(100_000), /no end/],
  ['size', pool(' '.repeat(XML_BYTES_MAX)), /larger than/],
] as const) {
  test(`a pool with ${what} is refused`, async () => {
    assert.match(await refusal(parsePool(xml)), expected);
  });
}

test('elements with names of the language’s own do no harm', async () => {
  const xml = pool(`<__proto__><name>x</name></__proto__><constructor/><_>y</_>${HOST}`);
  assert.is((await parsePool(xml)).name, 'vms');
  assert.is(({} as Record<string, unknown>).name, undefined);
  assert.is((await readXml('<a><_/>t</a>', 'a')).text, 't');
});

test('sizes have units, and none beyond what can be counted', async () => {
  const volume = (size: string) => `<volume><name>v</name><capacity ${size}</capacity></volume>`;
  const bytes = async (size: string) => (await parseVolume(volume(size))).capacityBytes;
  assert.is(await bytes('>512'), 512);
  assert.is(await bytes("unit='G'>1"), 1024 ** 3);
  assert.is(await bytes("unit='MB'>1"), 1e6);
  assert.is(await bytes("unit='KiB'>3"), 3072);
  assert.match(await refusal(parseVolume(volume("unit='parsec'>1"))), /unknown suffix 'parsec'/);
  assert.match(await refusal(parseVolume(volume("unit='E'>99999"))), /too large/);
  assert.match(await refusal(parseVolume(volume('>-1'))), /malformed capacity/);
});

test('formats other than raw and qcow2, and encryption, are refused', async () => {
  const volume = (target: string) => `<volume><name>v</name><target>${target}</target></volume>`;
  assert.is((await parseVolume(volume("<format type='qcow2'/>"))).format, 'qcow2');
  assert.match(await refusal(parseVolume(volume("<format type='vmdk'/>"))), /no-support/);
  assert.match(await refusal(parseVolume(volume("<encryption format='luks'/>"))), /no-support/);
});

test('a volume is shown as this', () => {
  const xml = formatVolume({
    name: "a'b",
    key: 'id/a',
    path: 'nbd://h:1/a',
    type: 'network',
    capacityBytes: 4096,
    allocationBytes: 0,
    physicalBytes: 4096,
    format: 'raw',
    createdMs: 1_700_000_000_012.5,
  });
  assert.match(xml, /^<volume type='network'>\n {2}<name>a&apos;b<\/name>\n/);
  assert.match(xml, /<capacity unit='bytes'>4096<\/capacity>/);
  assert.match(xml, /<ctime>1700000000\.012000000<\/ctime>/);
});

test('the row of our type takes the place of what the other daemon says of it', () => {
  const theirs = `<storagepoolCapabilities>
  <pool type='dir' supported='yes'>\n  </pool>
  <pool type='sheepdog' supported='no'>\n    <a/>\n  </pool>
</storagepoolCapabilities>\n`;
  const merged = mergeCapabilities(theirs);
  assert.is(merged.match(/type='sheepdog'/g)?.length, 1);
  assert.match(merged, /type='dir' supported='yes'>[\s\S]*type='sheepdog' supported='yes'/);
  assert.match(poolCapabilities(), /type='sheepdog' supported='yes'/);
});

test.run();
