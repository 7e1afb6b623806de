/** Messages of etcd's API as rpc-schema.ts encodes and decodes them: 64-bit numbers are decimal texts. */

export interface Header {
  readonly clusterId: string;
  readonly revision: string;
}

export interface WireKeyValue {
  readonly key: Buffer;
  readonly value: Buffer;
  readonly createRevision: string;
  readonly modRevision: string;
  /** 0: none. */
  readonly lease: string;
}

export interface RangeRequest {
  readonly key: Buffer;
  readonly rangeEnd?: Buffer;
  readonly limit?: number;
  readonly revision?: number;
}

export interface RangeResponse {
  readonly header: Header;
  readonly kvs: WireKeyValue[];
  readonly more: boolean;
}

export interface WireCompare {
  readonly result: number;
  readonly target: number;
  readonly key: Buffer;
  readonly createRevision?: number;
  readonly modRevision?: number;
  readonly value?: Buffer;
}

export type RequestOp =
  | { requestPut: { key: Buffer; value: Buffer; lease?: string } }
  | { requestDeleteRange: { key: Buffer; rangeEnd?: Buffer } }
  | { requestTxn: TxnRequest };

export interface TxnRequest {
  readonly compare: WireCompare[];
  readonly success: RequestOp[];
}

export interface TxnResponse {
  readonly header: Header;
  readonly succeeded: boolean;
}

export interface WatchResponse {
  readonly header: Header;
  readonly created: boolean;
  readonly canceled: boolean;
  readonly compactRevision: string;
  readonly cancelReason: string;
  readonly events: { readonly type: number; readonly kv: WireKeyValue }[];
}

export interface LeaseGrantResponse {
  readonly header: Header;
  readonly id: string;
  readonly ttl: string;
}

export interface LeaseKeepAliveResponse {
  readonly header: Header;
  readonly id: string;
  /** Seconds; 0: the lease is gone. */
  readonly ttl: string;
}
