import { fromJSON, type MethodDefinition, type ServiceDefinition } from '@grpc/proto-loader';

/**
 * The part of etcd's v3 API that is used here, as a table: message, field, type, number (etcd's api/etcdserverpb/
 * rpc.proto and api/mvccpb/kv.proto). Fields that are never looked at are left out; enums are numbers.
 */
type Field = readonly [name: string, type: string, id: number];

const messages: Record<string, readonly Field[]> = {
  Empty: [],
  Header: [
    ['clusterId', 'uint64', 1],
    ['revision', 'int64', 3],
  ],
  KeyValue: [
    ['key', 'bytes', 1],
    ['createRevision', 'int64', 2],
    ['modRevision', 'int64', 3],
    ['value', 'bytes', 5],
    ['lease', 'int64', 6],
  ],
  RangeRequest: [
    ['key', 'bytes', 1],
    ['rangeEnd', 'bytes', 2],
    ['limit', 'int64', 3],
    ['revision', 'int64', 4],
  ],
  RangeResponse: [
    ['header', 'Header', 1],
    ['kvs', '*KeyValue', 2],
    ['more', 'bool', 3],
  ],
  PutRequest: [
    ['key', 'bytes', 1],
    ['value', 'bytes', 2],
    ['lease', 'int64', 3],
  ],
  DeleteRangeRequest: [
    ['key', 'bytes', 1],
    ['rangeEnd', 'bytes', 2],
  ],
  RequestOp: [
    ['requestPut', '?PutRequest', 2],
    ['requestDeleteRange', '?DeleteRangeRequest', 3],
    ['requestTxn', '?TxnRequest', 4],
  ],
  Compare: [
    // 0: equal, 1: greater, 2: less, 3: not equal.
    ['result', 'int32', 1],
    // 0: version, 1: create revision, 2: modification revision, 3: value.
    ['target', 'int32', 2],
    ['key', 'bytes', 3],
    ['createRevision', '?int64', 5],
    ['modRevision', '?int64', 6],
    ['value', '?bytes', 7],
  ],
  TxnRequest: [
    ['compare', '*Compare', 1],
    ['success', '*RequestOp', 2],
  ],
  TxnResponse: [
    ['header', 'Header', 1],
    ['succeeded', 'bool', 2],
  ],
  WatchRequest: [
    ['createRequest', '?WatchCreateRequest', 1],
    ['progressRequest', '?Empty', 3],
  ],
  WatchCreateRequest: [
    ['key', 'bytes', 1],
    ['rangeEnd', 'bytes', 2],
    ['startRevision', 'int64', 3],
  ],
  WatchResponse: [
    ['header', 'Header', 1],
    ['created', 'bool', 3],
    ['canceled', 'bool', 4],
    ['compactRevision', 'int64', 5],
    ['cancelReason', 'string', 6],
    ['events', '*Event', 11],
  ],
  Event: [
    // 0: put, 1: delete.
    ['type', 'int32', 1],
    ['kv', 'KeyValue', 2],
  ],
  LeaseGrantRequest: [['ttl', 'int64', 1]],
  LeaseGrantResponse: [
    ['header', 'Header', 1],
    ['id', 'int64', 2],
    ['ttl', 'int64', 3],
  ],
  LeaseRevokeRequest: [['id', 'int64', 1]],
  LeaseKeepAliveRequest: [['id', 'int64', 1]],
  LeaseKeepAliveResponse: [
    ['header', 'Header', 1],
    ['id', 'int64', 2],
    ['ttl', 'int64', 3],
  ],
  AuthenticateRequest: [
    ['name', 'string', 1],
    ['password', 'string', 2],
  ],
  AuthenticateResponse: [['token', 'string', 2]],
  StatusResponse: [['version', 'string', 2]],
};

/** Service, method, request, response, whether both sides stream. */
const calls = {
  range: ['KV', 'Range', 'RangeRequest', 'RangeResponse', false],
  txn: ['KV', 'Txn', 'TxnRequest', 'TxnResponse', false],
  watch: ['Watch', 'Watch', 'WatchRequest', 'WatchResponse', true],
  leaseGrant: ['Lease', 'LeaseGrant', 'LeaseGrantRequest', 'LeaseGrantResponse', false],
  leaseRevoke: ['Lease', 'LeaseRevoke', 'LeaseRevokeRequest', 'Empty', false],
  leaseKeepAlive: ['Lease', 'LeaseKeepAlive', 'LeaseKeepAliveRequest', 'LeaseKeepAliveResponse', true],
  authenticate: ['Auth', 'Authenticate', 'AuthenticateRequest', 'AuthenticateResponse', false],
  status: ['Maintenance', 'Status', 'Empty', 'StatusResponse', false],
} as const;

export type RpcName = keyof typeof calls;
export type RpcMethod = MethodDefinition<object, object>;

/** Path, encoder and decoder of each call. 64-bit numbers are decimal texts: lease ids do not fit a number. */
export const rpcMethods: Readonly<Record<RpcName, RpcMethod>> = buildMethods();

function buildMethods(): Record<RpcName, RpcMethod> {
  const definition = fromJSON(
    { nested: { etcdserverpb: { nested: { ...buildMessages(), ...buildServices() } } } },
    { keepCase: true, longs: String, defaults: true, arrays: true },
  );
  const found: [string, RpcMethod][] = Object.entries(calls).map(([name, [service, method]]) => {
    const methods = definition[`etcdserverpb.${service}`] as ServiceDefinition;
    return [name, methods[method] as RpcMethod];
  });
  return Object.fromEntries(found) as Record<RpcName, RpcMethod>;
}

/** `*`: repeated; `?`: its presence means something, so its default is not filled in (members of a oneof). */
function buildMessages(): Record<string, object> {
  const build = (fields: readonly Field[]): object => {
    const optional = fields.filter(([, type]) => type.startsWith('?')).map(([name]) => name);
    return {
      fields: Object.fromEntries(
        fields.map(([name, type, id]) => [
          name,
          {
            type: type.replace(/^[*?]/, ''),
            id,
            ...(type.startsWith('*') && { rule: 'repeated' }),
          },
        ]),
      ),
      ...(optional.length > 0 && { oneofs: { kind: { oneof: optional } } }),
    };
  };
  return Object.fromEntries(Object.entries(messages).map(([name, fields]) => [name, build(fields)]));
}

function buildServices(): Record<string, object> {
  const services: Record<string, { methods: Record<string, object> }> = {};
  for (const [service, method, requestType, responseType, streams] of Object.values(calls)) {
    services[service] ??= { methods: {} };
    services[service].methods[method] = {
      requestType,
      responseType,
      ...(streams && { requestStream: true, responseStream: true }),
    };
  }
  return services;
}
