import { POOL_TYPE } from './pool-xml.js';
import { type Element, element, formatXml } from './xml-text.js';

const named = (name: string, values: readonly string[]) =>
  element(
    'enum',
    { name },
    values.map((value) => element('value', undefined, value)),
  );

/** What `virsh pool-capabilities` shows: the one type that is served here, and its formats. */
export function poolCapabilities(): string {
  return formatXml(element('storagepoolCapabilities', undefined, [sheepdogRow()]));
}

function sheepdogRow(): Element {
  return element('pool', { type: POOL_TYPE, supported: 'yes' }, [
    element('volOptions', undefined, [
      element('defaultFormat', { type: 'raw' }),
      named('targetFormatType', ['raw', 'qcow2']),
    ]),
  ]);
}

/** Another daemon's capabilities, with our row in place of what it says of the type. */
export function mergeCapabilities(theirs: string): string {
  const row = formatXml(sheepdogRow(), 1);
  const without = theirs.replace(
    new RegExp(`[ \\t]*<pool type='${POOL_TYPE}'[^>]*?(?:/>|>[\\s\\S]*?</pool>)\\n?`),
    '',
  );
  return without.replace('</storagepoolCapabilities>', () => `${row}</storagepoolCapabilities>`);
}
