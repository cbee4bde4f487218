// Everything the test server offers, through Alibaba's own client for JavaScript.
// Usage: node ali_oss.cjs ALI_OSS_FOLDER ENDPOINT REGION KEY_ID SECRET v1|v4 [TOKEN]
'use strict';
const assert = require('node:assert/strict');
const fs = require('node:fs');
const http = require('node:http');
const os = require('node:os');
const path = require('node:path');

const [folder, endpoint, region, accessKeyId, accessKeySecret, version, stsToken] = process.argv.slice(2);
const OSS = require(folder);
const isV4 = version === 'v4';
const options = {
  accessKeyId, accessKeySecret, region: `oss-${region}`, bucket: 'images', authorizationV4: isV4, stsToken,
  refreshSTSToken: stsToken ? async () => ({ accessKeyId, accessKeySecret, stsToken }) : undefined,
};
const client = new OSS({ ...options, endpoint });
// It signs no URL with an address in it.
const signer = new OSS(options);
const NAMES = ['a.txt', 'a b&c=d?e#f%2F.txt', '票据/中文 名.txt', 'a//b.txt', "q'!()*.txt", 'plus+plus.txt'];

// The name in a URL is the test server's too, which is found by its address.
const HOST = `images.oss-${region}.aliyuncs.com`;
function ask(url, method = 'GET', body = undefined) {
  const { pathname, search } = new URL(url, endpoint);
  return new Promise((resolve, reject) => {
    const request = http.request(endpoint + pathname + search, { method, headers: { host: HOST } }, (answer) => {
      const pieces = [];
      answer.on('data', (piece) => pieces.push(piece));
      answer.on('end', () => resolve({ status: answer.statusCode, text: Buffer.concat(pieces).toString() }));
    });
    request.on('error', reject);
    request.end(body);
  });
}

async function fails(code, status, doing) {
  await assert.rejects(doing, (error) => {
    assert.equal(error.code, code, String(error));
    assert.equal(error.status, status);
    return true;
  });
}

async function objects() {
  for (const name of NAMES) {
    const put = await client.put(name, Buffer.from(name), { meta: { origin: 'test' }, mime: 'text/plain' });
    assert.equal(put.res.status, 200);
    const got = await client.get(name);
    assert.equal(got.content.toString(), name);
    assert.equal(got.res.headers.etag, put.res.headers.etag);
    assert.match(got.res.headers.etag, /^"[0-9A-F]{32}"$/);
    assert.equal(got.res.headers['x-oss-hash-crc64ecma'], put.res.headers['x-oss-hash-crc64ecma']);
    const head = await client.head(name);
    assert.equal(head.meta.origin, 'test');
    assert.equal(head.res.headers['content-length'], String(Buffer.byteLength(name)));
    assert.equal((await client.getObjectMeta(name)).res.headers.etag, put.res.headers.etag);
  }
  await client.putStream('stream.txt', require('node:stream').Readable.from([Buffer.from('in '), Buffer.from('pieces')]));
  assert.equal((await client.get('stream.txt')).content.toString(), 'in pieces');
  await fails('NoSuchKey', 404, () => client.get('nowhere'));
  await fails('NoSuchKey', 404, () => client.head('nowhere'));
  await fails('NoSuchBucket', 404, () => { client.useBucket('nowhere'); return client.get('a.txt').finally(() => client.useBucket('images')); });
  await fails('FileAlreadyExists', 409, () => client.put('a.txt', Buffer.from('x'), { headers: { 'x-oss-forbid-overwrite': 'true' } }));
  await client.copy('copy.txt', NAMES[2]);
  assert.equal((await client.get('copy.txt')).content.toString(), NAMES[2]);
}

async function conditions() {
  const { res } = await client.head('a.txt');
  const get = (headers) => client.get('a.txt', undefined, { headers });
  assert.equal((await get({ Range: 'bytes=1-3' })).content.toString(), '.tx');
  assert.equal((await get({ Range: 'bytes=-3' })).content.toString(), 'txt');
  // OSS answers what reaches out of the object with all of it, unless told otherwise.
  assert.equal((await get({ Range: 'bytes=2-99' })).content.toString(), 'a.txt');
  assert.equal((await get({ Range: 'bytes=2-99', 'x-oss-range-behavior': 'standard' })).content.toString(), 'txt');
  await fails('InvalidRange', 416, () => get({ Range: 'bytes=9-', 'x-oss-range-behavior': 'standard' }));
  await get({ 'If-Match': res.headers.etag });
  await fails('PreconditionFailed', 412, () => get({ 'If-Match': '"0"' }));
  await fails('PreconditionFailed', 412, () => get({ 'If-Unmodified-Since': new Date(0).toUTCString() }));
  for (const headers of [{ 'If-None-Match': res.headers.etag }, { 'If-Modified-Since': res.headers['last-modified'] }]) {
    assert.equal((await client.head('a.txt', { headers })).status, 304);
  }
}

async function listings() {
  const all = (await client.listV2({ 'max-keys': '1000' })).objects.map((one) => one.name);
  assert.deepEqual(all, [...all].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b))));
  for (const name of NAMES) assert.ok(all.includes(name), name);
  for (const encoding of [{}, { 'encoding-type': 'url' }]) {
    let [found, token] = [[], undefined];
    do {
      const page = await client.listV2({ 'max-keys': '2', 'continuation-token': token, ...encoding });
      found.push(...page.objects.map((one) => one.name));
      token = page.nextContinuationToken;
    } while (token);
    assert.deepEqual(found.map((one) => (encoding['encoding-type'] ? decodeURIComponent(one) : one)), all);
  }
  let [found, marker] = [[], undefined];
  do {
    const page = await client.list({ 'max-keys': '3', ...(marker && { marker }) });
    found.push(...page.objects.map((one) => one.name));
    marker = page.nextMarker;
  } while (marker);
  assert.deepEqual(found, all);
  const top = await client.listV2({ delimiter: '/', 'max-keys': '100' });
  assert.deepEqual(top.prefixes, ['a/', '票据/']);
  assert.deepEqual((await client.listV2({ 'start-after': 'plus+plus.txt', prefix: 'q', 'max-keys': '9' })).objects.map((one) => one.name), ["q'!()*.txt"]);
  await fails('InvalidArgument', 400, () => client.list({ 'max-keys': '1001' }));
}

async function multipart() {
  const data = Buffer.alloc(250 * 1024, 7);
  const file = path.join(os.tmpdir(), `ali-oss-${process.pid}`);
  fs.writeFileSync(file, data);
  const { uploadId } = await client.initMultipartUpload('parts.bin');
  const parts = [];
  for (const [number, [start, end]] of [[0, 100 * 1024], [100 * 1024, 200 * 1024], [200 * 1024, data.length]].entries()) {
    const part = await client.uploadPart('parts.bin', uploadId, number + 1, file, start, end);
    parts.push({ number: number + 1, etag: part.res.headers.etag });
  }
  fs.rmSync(file);
  const first = await client.listParts('parts.bin', uploadId, { 'max-parts': 2 });
  assert.deepEqual([first.parts.length, first.isTruncated, first.nextPartNumberMarker], [2, 'true', '2']);
  const rest = await client.listParts('parts.bin', uploadId, { 'part-number-marker': 2 });
  assert.deepEqual([rest.parts.PartNumber ?? rest.parts[0].PartNumber, rest.isTruncated], ['3', 'false']);
  await client.completeMultipartUpload('parts.bin', uploadId, parts);
  const got = await client.get('parts.bin');
  assert.ok(got.content.equals(data));
  assert.match(got.res.headers.etag, /^"[0-9A-F]{32}-3"$/);
  const aborted = await client.initMultipartUpload('parts.bin');
  await client.abortMultipartUpload('parts.bin', aborted.uploadId);
  await fails('NoSuchUpload', 404, () => client.listParts('parts.bin', aborted.uploadId));
}

async function urls() {
  const sign = (method, name, seconds) =>
    isV4 ? signer.signatureUrlV4(method, seconds, {}, name) : signer.signatureUrl(name, { method, expires: seconds });
  for (const name of NAMES.filter((one) => !one.includes('//'))) {
    assert.equal((await ask(await sign('GET', name, 60))).text, name);
    assert.equal((await ask(await sign('GET', name, -1000))).status, 403);
  }
  assert.equal((await ask(await sign('PUT', 'by-url.txt', 60), 'PUT', 'x')).status, 200);
  const changed = new URL(await sign('GET', 'a.txt', 60));
  changed.pathname = changed.pathname.replace('a.txt', 'copy.txt');
  assert.match((await ask(changed)).text, /<Code>SignatureDoesNotMatch<\/Code>/);
}

async function deletions() {
  const { deleted } = await client.deleteMulti([...NAMES, 'never-there']);
  assert.equal(deleted.length, NAMES.length + 1);
  assert.equal((await client.delete('never-there')).res.status, 204);
  await fails('NoSuchKey', 404, () => client.get('a.txt'));
}

async function refusals() {
  const stranger = (change) => new OSS({ ...options, ...change, endpoint });
  await fails('SignatureDoesNotMatch', 403, () => stranger({ accessKeySecret: 'wrong' }).get('copy.txt'));
  await fails('InvalidAccessKeyId', 403, () => stranger({ accessKeyId: 'nobody' }).get('copy.txt'));
  assert.match((await ask(`${endpoint}/copy.txt`)).text, /<Code>AccessDenied<\/Code>/);
}

(async () => {
  for (const step of [objects, conditions, listings, multipart, urls, deletions, refusals]) {
    await step();
    console.log(step.name);
  }
})().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
