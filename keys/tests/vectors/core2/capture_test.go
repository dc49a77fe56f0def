// Makes users' requests of UCloud's own Core and writes down what it sends to a provider: see ../README.md. Part of no build here: it goes into
// core2/pkg/orchestrator of a checkout of UCloud.

package orchestrator

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	cfg "ucloud.dk/core/pkg/config"
	accapi "ucloud.dk/shared/pkg/accounting"
	fndapi "ucloud.dk/shared/pkg/foundation"
	orcapi "ucloud.dk/shared/pkg/orchestrators"
	"ucloud.dk/shared/pkg/rpc"
	"ucloud.dk/shared/pkg/util"
)

type captured struct {
	Method string          `json:"method"`
	Path   string          `json:"path"`
	User   string          `json:"username,omitempty"`
	Body   json.RawMessage `json:"body"`
}

type fixture struct {
	Call    string          `json:"call"`
	Asked   captured        `json:"asked"`
	Params  json.RawMessage `json:"params"`
	Sent    []captured      `json:"sent"`
	Problem string          `json:"problem,omitempty"`
}

var seenMu sync.Mutex
var seen []captured

func decode[T any](text string) T {
	var t T
	if err := json.Unmarshal([]byte(text), &t); err != nil {
		panic(err)
	}
	return t
}

const supportAll = `{"product":{"id":"%[1]s","category":"%[1]s","provider":"hpc"},
"stats":{"sizeInBytes":true,"sizeIncludingChildrenInBytes":true,"visualization":true,"modifiedAt":true},
"collection":{"aclModifiable":true,"usersCanCreate":true,"usersCanDelete":true,"usersCanRename":true},
"files":{"aclModifiable":true,"trashSupported":true,"isReadOnly":false,"searchSupported":true,"streamingSearchSupported":true,"sharesSupported":true,"openInTerminal":true},
"docker":{"enabled":true,"web":true,"vnc":true,"logs":true,"terminal":true,"peers":true,"timeExtension":true,"bindLinkToPort":true},
"native":{"enabled":true,"web":true,"vnc":true,"logs":true,"terminal":true,"peers":true,"timeExtension":true,"bindLinkToPort":true},
"firewall":{"enabled":true},"domainPrefix":"app-","domainSuffix":".hpc.example.org"}`

func product(kind, name string) accapi.ProductV2 {
	upper := map[string]string{"storage": "STORAGE", "compute": "COMPUTE", "ingress": "INGRESS", "network_ip": "NETWORK_IP", "license": "LICENSE", "private_network": "PRIVATE_NETWORK"}[kind]
	return decode[accapi.ProductV2](fmt.Sprintf(`{"type":"%s","category":{"name":"%s","provider":"hpc","productType":"%s","accountingUnit":{"name":"GB","namePlural":"GB","floatingPoint":false,"displayFrequencySuffix":false},"accountingFrequency":"ONCE","freeToUse":false,"allowSubAllocations":true},"name":"%s","description":"d","productType":"%s","price":1,"hiddenInGrantApplications":false}`, kind, name, upper, name, upper))
}

func TestCapture(t *testing.T) {
	kinds := map[string]string{"files/collections": "disk", "jobs": "c1", "ingresses": "links", "networkips": "ips", "licenses": "lic", "private-networks": "nets"}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if len(body) == 0 {
			body = []byte("null")
		}
		seenMu.Lock()
		seen = append(seen, captured{r.Method, r.URL.RequestURI(), r.Header.Get("ucloud-username"), body})
		seenMu.Unlock()
		if kind, ok := strings.CutSuffix(strings.TrimPrefix(r.URL.Path, "/ucloud/hpc/"), "/retrieveProducts"); ok {
			fmt.Fprintf(w, `{"responses":[`+supportAll+`]}`, kinds[kind])
			return
		}
		switch strings.TrimPrefix(r.URL.Path, "/ucloud/hpc/") {
		case "integration/retrieveManifest":
			io.WriteString(w, `{"enabled":true,"expireAfterMs":null}`)
		case "jobs/interactiveSession", "jobs/openTerminalInFolder", "files/upload", "files/download":
			io.WriteString(w, `{"responses":[{}]}`)
		case "files/transfer":
			var transfer map[string]any
			_ = json.Unmarshal(body, &transfer)
			fmt.Fprintf(w, `{"type":"%v","session":"s-1","supportedProtocols":["built-in"],"selectedProtocol":"built-in","protocolParameters":{"endpoint":"https://dst.example.org"}}`, transfer["type"])
		default:
			io.WriteString(w, `{"responses":[{}],"items":[]}`)
		}
	}))
	defer server.Close()

	cfg.Configuration = &cfg.ConfigurationFormat{}
	cfg.Configuration.Logs.LogToConsole = true
	resourceGlobals.Testing.Enabled = true
	appCatalogGlobals.Testing.Enabled = true
	InitResources()
	InitResourceType(driveType, 0, nil, nil, driveTransform, nil)
	InitResourceType(jobType, resourceTypeCreateWithoutAdmin, nil, nil, jobTransform, nil)
	InitResourceType(ingressType, resourceTypeCreateWithoutAdmin, nil, nil, ingressTransform, nil)
	InitResourceType(publicIpType, resourceTypeCreateWithoutAdmin, nil, nil, publicIpTransform, nil)
	InitResourceType(licenseType, resourceTypeCreateWithoutAdmin, nil, nil, licenseTransform, nil)
	InitResourceType(privateNetworkType, resourceTypeCreateWithoutAdmin, nil, nil, privateNetworkTransform, nil)
	InitResourceType(shareType, 0, nil, nil, shareTransform, nil)
	InitResourceType(apiTokenType, resourceTypeCreateWithoutAdmin, nil, nil, apiTokensTransform, nil)
	ingressesFillIndex()
	appCatalogLoad()
	initProviders()

	users := map[string]rpc.Actor{}
	for _, name := range []string{"Ælice#1234", "bob#0002"} {
		users[name] = rpc.Actor{Username: name, Role: rpc.RoleUser, Membership: map[rpc.ProjectId]rpc.ProjectRole{}}
	}
	rpc.LookupActor = func(username string) (rpc.Actor, bool) { a, ok := users[username]; return a, ok }
	alice := users["Ælice#1234"]

	token, _ := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"exp": time.Now().Add(time.Hour).Unix()}).SignedString([]byte("x"))
	client := &rpc.Client{BasePath: server.URL, Client: &http.Client{Timeout: 5 * time.Second}, AccessToken: token, CoreForProvider: util.OptValue("hpc")}
	rpc.DefaultClient = client
	for _, name := range []string{"hpc", "dst"} {
		providerClients.Get(name, func() (*rpc.Client, error) { return client, nil })
	}
	products := []accapi.ProductV2{product("storage", "disk"), product("compute", "c1"), product("ingress", "links"), product("network_ip", "ips"), product("license", "lic"), product("private_network", "nets")}
	productCache.Get("hpc", func() ([]accapi.ProductV2, error) { return products, nil })
	for _, p := range products {
		resourceAllocationCache.Add(resourceRefKey(alice, p.Category.Name, "hpc"), util.Empty{})
	}
	resourceAllocationCache.Add(resourceRefKey(alice, "", "hpc"), util.Empty{})

	providerSupportGlobals.ByType = map[string]providerSupportByType{}
	providerSupportGlobals.ManifestsByProvider = map[string]orcapi.ProviderIntegrationManifest{}
	providerSupportGlobals.ProviderById = map[int]string{}
	providerSupportGlobals.ProviderByName = map[string]int{}
	go featureMonitorProvider("hpc")
	featureAwaitReady(10 * time.Second)

	tool := decode[orcapi.ToolReference](`{"name":"tool","version":"1","tool":{"owner":"x","description":{"info":{"name":"tool","version":"1"},"defaultNumberOfNodes":1,"defaultTimeAllocation":{"hours":1,"minutes":0,"seconds":0},"requiredModules":[],"authors":["a"],"title":"t","description":"d","backend":"NATIVE","license":"","supportedProviders":[]}}}`)
	if err := AppStudioCreateTool(&tool); err != nil {
		t.Fatal(err)
	}
	app := decode[orcapi.Application](`{"metadata":{"name":"hello-native","version":"1.0","title":"Hello","description":"d","authors":["a"]},"invocation":{"tool":{"name":"tool","version":"1"},"invocation":[{"type":"word","word":"echo"},{"type":"var","variableNames":["word"]}],"applicationType":"BATCH","ssh":{"mode":"OPTIONAL"},
		"parameters":[{"type":"text","name":"word","optional":true,"title":"","description":""},{"type":"integer","name":"count","optional":true,"title":"","description":""},{"type":"floating_point","name":"share","optional":true,"title":"","description":""},{"type":"boolean","name":"loud","optional":true,"title":"","description":""},{"type":"input_file","name":"input","optional":true,"title":"","description":""}]}}`)
	app.Invocation.Tool = tool
	if err := AppStudioCreateApplication(&app); err != nil {
		t.Fatal(err)
	}
	AppStudioUpdatePublicFlag("hello-native", "1.0", true)

	var all []fixture

	capture := func(call, method, path, body, params string, run func() *util.HttpError) {
		seenMu.Lock()
		seen = nil
		seenMu.Unlock()
		f := fixture{Call: call, Asked: captured{Method: method, Path: path}, Params: json.RawMessage(params)}
		if body == "" {
			body = "null"
		}
		f.Asked.Body = json.RawMessage(body)
		func() {
			defer func() {
				if r := recover(); r != nil {
					f.Problem = fmt.Sprint("after it was sent: ", r)
				}
			}()
			if err := run(); err != nil {
				f.Problem = err.Why
			}
		}()
		seenMu.Lock()
		for _, r := range seen {
			if r.User != "" && strings.HasPrefix(r.Path, "/ucloud/") {
				f.Sent = append(f.Sent, r)
			}
		}
		seenMu.Unlock()
		if len(f.Sent) == 0 {
			t.Errorf("%s: nothing was sent: %s", call, f.Problem)
		}
		all = append(all, f)
	}

	// --- drives
	var drive orcapi.Drive
	body := `{"items":[{"title":" My photos\t","product":{"id":"disk","category":"disk","provider":"hpc"}}]}`
	capture("files.collections.create", "POST", "/api/files/collections", body, `[{"specification":{"title":" My photos\t","product":{"id":"disk","category":"disk","provider":"hpc"}}}]`, func() *util.HttpError {
		made, err := DriveCreateBulk(alice, decode[fndapi.BulkRequest[orcapi.DriveSpecification]](body))
		if err == nil {
			drive = made[0]
		}
		return err
	})
	d := drive.Id
	ref := func(template string) string { return strings.ReplaceAll(template, "{d}", d) }
	renamed := ref(`{"items":[{"id":"{d}","newTitle":" Better photos "}]}`)
	capture("files.collections.rename", "POST", "/api/files/collections/rename", renamed, ref(`[{"id":"{d}","newTitle":" Better photos "}]`), func() *util.HttpError {
		for _, item := range decode[fndapi.BulkRequest[orcapi.DriveRenameRequest]](renamed).Items {
			if err := DriveRename(alice, item.Id, item.NewTitle); err != nil {
				return err
			}
		}
		return nil
	})
	labels := func(kind, id string) (string, string) {
		return fmt.Sprintf(`{"items":[{"id":"%s","labels":{"Colour":"Red","note":""}}]}`, id), fmt.Sprintf(`[{"id":"%s","labels":{"Colour":"Red","note":""}}]`, id)
	}
	b, p := labels("", d)
	capture("files.collections.updateLabels", "POST", "/api/files/collections/updateLabels", b, p, func() *util.HttpError {
		return DriveUpdateLabels(alice, decode[fndapi.BulkRequest[orcapi.DrivesUpdateLabelsRequest]](b))
	})

	// --- files
	ids := ref(`{"items":[{"id":"/{d}/a b/æøå.txt"}]}`)
	idParams := ref(`[{"id":"/{d}/a b/æøå.txt"}]`)
	find := func() fndapi.BulkRequest[fndapi.FindByStringId] {
		return decode[fndapi.BulkRequest[fndapi.FindByStringId]](ids)
	}
	capture("files.browse", "GET", ref("/api/files/browse?itemsPerPage=250&includeTimestamps=true&includeSizes=true&includeMetadata=true&sortBy=PATH&sortDirection=ascending&path=%2F{d}%2Fa"), "", ref(`[{"path":"/{d}/a"}]`), func() *util.HttpError {
		var request orcapi.FilesBrowseRequest
		request.ItemsPerPage = 250
		request.Path.Set(ref("/{d}/a"))
		request.IncludeTimestamps.Set(true)
		request.IncludeSizes.Set(true)
		request.IncludeMetadata.Set(true)
		request.SortBy.Set("PATH")
		request.SortDirection.Set(orcapi.SortDirectionAscending)
		_, err := FilesBrowse(alice, request)
		return err
	})
	capture("files.retrieve", "GET", ref("/api/files/retrieve?includeSizes=true&id=%2F{d}%2Fa"), "", ref(`[{"id":"/{d}/a"}]`), func() *util.HttpError {
		var request orcapi.FilesRetrieveRequest
		request.Id = ref("/{d}/a")
		request.IncludeSizes.Set(true)
		_, err := FilesRetrieve(alice, request)
		return err
	})
	visualize := ref(`{"path":"/{d}/a"}`)
	capture("files.visualize", "POST", "/api/files/visualize", visualize, "["+visualize+"]", func() *util.HttpError {
		_, err := FilesVisualize(alice, decode[orcapi.FilesVisualizeRequest](visualize))
		return err
	})
	folder := ref(`{"items":[{"id":"/{d}/new","conflictPolicy":"RENAME"},{"id":"/{d}/new2","conflictPolicy":"REJECT"}]}`)
	capture("files.createFolder", "POST", "/api/files/folder", folder, ref(`[{"id":"/{d}/new","conflictPolicy":"RENAME"},{"id":"/{d}/new2","conflictPolicy":"REJECT"}]`), func() *util.HttpError {
		_, err := FilesCreateFolder(alice, decode[fndapi.BulkRequest[orcapi.FilesCreateFolderRequest]](folder))
		return err
	})
	moved := ref(`{"items":[{"oldId":"/{d}/a","newId":"/{d}/b","conflictPolicy":"RENAME"}]}`)
	movedParams := ref(`[{"oldId":"/{d}/a","newId":"/{d}/b","conflictPolicy":"RENAME"}]`)
	capture("files.move", "POST", "/api/files/move", moved, movedParams, func() *util.HttpError {
		_, err := FilesMove(alice, decode[fndapi.BulkRequest[orcapi.FilesSourceAndDestination]](moved))
		return err
	})
	capture("files.copy", "POST", "/api/files/copy", moved, movedParams, func() *util.HttpError {
		_, err := FilesCopy(alice, decode[fndapi.BulkRequest[orcapi.FilesSourceAndDestination]](moved))
		return err
	})
	capture("files.trash", "POST", "/api/files/trash", ids, idParams, func() *util.HttpError { _, err := FilesMoveToTrash(alice, find()); return err })
	capture("files.emptyTrash", "POST", "/api/files/emptyTrash", ids, idParams, func() *util.HttpError { _, err := FilesEmptyTrash(alice, find()); return err })
	capture("files.delete", "DELETE", "/api/files", ids, idParams, func() *util.HttpError { _, err := FilesDelete(alice, find()); return err })
	upload := ref(`{"items":[{"id":"/{d}/f.txt","type":"FILE","supportedProtocols":["CHUNKED","WEBSOCKET"],"conflictPolicy":"RENAME"}]}`)
	capture("files.createUpload", "POST", "/api/files/upload", upload, ref(`[{"id":"/{d}/f.txt","type":"FILE","conflictPolicy":"RENAME"}]`), func() *util.HttpError {
		_, err := FilesCreateUpload(alice, decode[fndapi.BulkRequest[orcapi.FilesCreateUploadRequest]](upload))
		return err
	})
	capture("files.createDownload", "POST", "/api/files/download", ids, idParams, func() *util.HttpError { _, err := FilesCreateDownload(alice, find()); return err })

	// --- jobs
	spec := ref(`{"product":{"id":"c1","category":"c1","provider":"hpc"},"application":{"name":"hello-native","version":"1.0"},"name":" first job ","replicas":2,"allowDuplicateJob":true,
		"parameters":{"word":{"type":"text","value":"there"},"count":{"type":"integer","value":3},"share":{"type":"floating_point","value":0.1},"loud":{"type":"boolean","value":false},"input":{"type":"file","path":"/{d}/in.txt","readOnly":true}},
		"resources":[{"type":"file","path":"/{d}/bundle","readOnly":true}],"timeAllocation":{"hours":1,"minutes":30,"seconds":0},"openedFile":"/{d}/in.txt","restartOnExit":true,"sshEnabled":true,"labels":{"Stage":"one"}}`)
	var job orcapi.Job
	capture("jobs.create", "POST", "/api/jobs", `{"items":[`+spec+`]}`, `[{"specification":`+spec+`}]`, func() *util.HttpError {
		made, err := JobCreate(alice, decode[fndapi.BulkRequest[orcapi.JobSpecification]](`{"items":[`+spec+`]}`))
		if err == nil {
			job = made[0]
		}
		return err
	})
	j := func(template string) string { return strings.ReplaceAll(ref(template), "{j}", job.Id) }
	jobIds := j(`{"items":[{"id":"{j}"}]}`)
	jobIdParams := j(`[{"id":"{j}"}]`)
	jobFind := decode[fndapi.BulkRequest[fndapi.FindByStringId]](jobIds)
	b2, p2 := labels("", job.Id)
	capture("jobs.updateLabels", "POST", "/api/jobs/updateLabels", b2, p2, func() *util.HttpError {
		return JobsUpdateLabelsBulk(alice, decode[fndapi.BulkRequest[orcapi.JobsUpdateLabelsRequest]](b2))
	})
	extend := j(`{"items":[{"jobId":"{j}","requestedTime":{"hours":2,"minutes":0,"seconds":0}}]}`)
	capture("jobs.extend", "POST", "/api/jobs/extend", extend, j(`[{"jobId":"{j}","requestedTime":{"hours":2,"minutes":0,"seconds":0}}]`), func() *util.HttpError {
		_, err := JobsExtendBulk(alice, decode[fndapi.BulkRequest[orcapi.JobsExtendRequestItem]](extend))
		return err
	})
	capture("jobs.suspend", "POST", "/api/jobs/suspend", jobIds, jobIdParams, func() *util.HttpError { _, err := JobsSuspendBulk(alice, jobFind); return err })
	capture("jobs.unsuspend", "POST", "/api/jobs/unsuspend", jobIds, jobIdParams, func() *util.HttpError { _, err := JobsUnsuspendBulk(alice, jobFind); return err })

	// What follows is in closures of Core's handlers, after the same look-ups: repeated here, with Core's own types.
	opts := ProviderCallOpts{Username: util.OptValue(alice.Username)}
	retrieve := func(flags orcapi.ResourceFlags) orcapi.Job {
		resc, _, _, err := ResourceRetrieveEx[orcapi.Job](alice, jobType, ResourceParseId(job.Id), orcapi.PermissionEdit, flags)
		if err != nil {
			panic(err.Why)
		}
		return resc
	}
	session := j(`{"items":[{"id":"{j}","rank":1,"sessionType":"WEB","target":"http"}]}`)
	capture("jobs.openInteractiveSession", "POST", "/api/jobs/interactiveSession", session, j(`[{"id":"{j}","rank":1,"sessionType":"WEB","target":"http"}]`), func() *util.HttpError {
		item := decode[fndapi.BulkRequest[orcapi.JobsOpenInteractiveSessionRequestItem]](session).Items[0]
		_, err := InvokeProvider("hpc", orcapi.JobsProviderOpenInteractiveSession, fndapi.BulkRequestOf(orcapi.JobsProviderOpenInteractiveSessionRequestItem{
			Job: retrieve(orcapi.ResourceFlags{IncludeProduct: true}), Rank: item.Rank, SessionType: item.SessionType, Target: item.Target}), opts)
		return err
	})
	terminal := j(`{"items":[{"folder":"/{d}/a"}]}`)
	capture("jobs.openTerminalInFolder", "POST", "/api/jobs/openTerminalInFolder", terminal, j(`[{"folder":"/{d}/a"}]`), func() *util.HttpError {
		_, err := InvokeProvider("hpc", orcapi.JobsProviderOpenTerminalInFolder, decode[fndapi.BulkRequest[orcapi.JobsOpenTerminalInFolderRequestItem]](terminal), opts)
		return err
	})
	dynamic := `{"application":{"name":"hello-native","version":"1.0"}}`
	capture("jobs.requestDynamicParameters", "POST", "/api/jobs/requestDynamicParameters", dynamic, `[{"name":"hello-native","version":"1.0"}]`, func() *util.HttpError {
		request := decode[orcapi.JobsRequestDynamicParametersRequest](dynamic)
		app, _ := AppRetrieve(alice, request.Application.Name, request.Application.Version, AppDiscoveryAll, 0)
		_, err := InvokeProvider("hpc", orcapi.JobsProviderRequestDynamicParameters, orcapi.JobsProviderRequestDynamicParametersRequest{
			Owner: orcapi.ResourceOwner{CreatedBy: alice.Username}, Application: app}, opts)
		return err
	})
	attach := j(`{"jobId":"{j}","resource":{"type":"file","path":"/{d}/more","readOnly":true}}`)
	attached := func() (orcapi.Job, orcapi.AppParameterValue) {
		request := decode[orcapi.JobsAttachResourceRequest](attach)
		resc := retrieve(orcapi.ResourceFlagsIncludeAll())
		support, _ := SupportByProduct[orcapi.JobSupport](jobType, resc.Specification.Product)
		resource := request.Resource
		backend := resc.Status.ResolvedApplication.Value.Invocation.Tool.Tool.Value.Description.Backend
		if err := jobValidateValue(alice, &resource, backend, support, util.OptValue(resc.Id)); err != nil {
			panic(err.Why)
		}
		return resc, resource
	}
	capture("jobs.attachResource", "POST", "/api/jobs/attachResource", attach, "["+attach+"]", func() *util.HttpError {
		resc, resource := attached()
		_, err := InvokeProvider("hpc", orcapi.JobsProviderAttachResource, orcapi.JobsProviderAttachResourceRequest{Job: resc, Resource: resource}, opts)
		return err
	})
	capture("jobs.detachResource", "POST", "/api/jobs/detachResource", attach, "["+attach+"]", func() *util.HttpError {
		resc, resource := attached()
		_, err := InvokeProvider("hpc", orcapi.JobsProviderDetachResource, orcapi.JobsProviderDetachResourceRequest{Job: resc, Resource: resource}, opts)
		return err
	})
	message := func(call, path, asked, params string, payload any) {
		// The parameters of both are the payload of the user's message.
		said := `{"call":"` + call + `","payload":` + strings.TrimSuffix(strings.TrimPrefix(params, "["), "]") + `}`
		capture(call, "GET", asked, said, params, func() *util.HttpError {
			data, _ := json.Marshal(payload)
			seenMu.Lock()
			seen = append(seen, captured{"GET", path, "-", data})
			seenMu.Unlock()
			return nil
		})
	}
	message("jobs.follow", "/ucloud/jobs.provider.hpc/websocket", "/api/jobs", jobIdParams, orcapi.JobsProviderFollowRequest{Type: "init", Job: retrieve(orcapi.ResourceFlagsIncludeAll())})
	var fileFlags orcapi.FileFlags
	message("files.streamingSearch", "/ucloud/hpc/files", "/api/files", ref(`[{"query":" thesis ","currentFolder":"/{d}/a"}]`), orcapi.FilesProviderStreamingSearchRequest{
		Query: "thesis", Owner: drive.Owner, Flags: fileFlags, Category: accapi.ProductCategoryIdV2{Name: "disk", Provider: "hpc"}, CurrentFolder: util.OptValue(ref("/{d}/a"))})
	capture("jobs.terminate", "POST", "/api/jobs/terminate", jobIds, jobIdParams, func() *util.HttpError { _, err := JobsTerminateBulk(alice, jobFind); return err })

	// --- other resources
	simple := func(path, spec string, create func(body string) (string, *util.HttpError), relabel func(body string) *util.HttpError, remove func(request fndapi.BulkRequest[fndapi.FindByStringId]) *util.HttpError, between func(id string)) {
		var id string
		body := `{"items":[` + spec + `]}`
		capture(path+".create", "POST", "/api/"+path, body, `[{"specification":`+spec+`}]`, func() *util.HttpError {
			made, err := create(body)
			id = made
			return err
		})
		b, p := labels("", id)
		if relabel != nil {
			capture(path+".updateLabels", "POST", "/api/"+path+"/updateLabels", b, p, func() *util.HttpError { return relabel(b) })
		}
		if between != nil {
			between(id)
		}
		ids := fmt.Sprintf(`{"items":[{"id":"%s"}]}`, id)
		if remove != nil {
			capture(path+".delete", "DELETE", "/api/"+path, ids, fmt.Sprintf(`[{"id":"%s"}]`, id), func() *util.HttpError {
				return remove(decode[fndapi.BulkRequest[fndapi.FindByStringId]](ids))
			})
		}
	}
	simple("ingresses", `{"domain":"app-MyLink.hpc.example.org","product":{"id":"links","category":"links","provider":"hpc"},"labels":{"Stage":"one"}}`, func(body string) (string, *util.HttpError) {
		made, err := IngressCreate(alice, decode[fndapi.BulkRequest[orcapi.IngressSpecification]](body))
		if err != nil {
			return "", err
		}
		return made[0].Id, nil
	}, func(body string) *util.HttpError {
		return IngressUpdateLabels(alice, decode[fndapi.BulkRequest[orcapi.IngressesUpdateLabelsRequest]](body))
	}, func(r fndapi.BulkRequest[fndapi.FindByStringId]) *util.HttpError {
		_, err := IngressDelete(alice, r)
		return err
	}, nil)
	simple("networkips", `{"product":{"id":"ips","category":"ips","provider":"hpc"},"firewall":{"openPorts":[{"start":80,"end":81,"protocol":"TCP"}]}}`, func(body string) (string, *util.HttpError) {
		made, err := PublicIpCreate(alice, decode[fndapi.BulkRequest[orcapi.PublicIPSpecification]](body))
		if err != nil {
			return "", err
		}
		return made[0].Id, nil
	}, func(body string) *util.HttpError {
		return PublicIpUpdateLabels(alice, decode[fndapi.BulkRequest[orcapi.PublicIpsUpdateLabelsRequest]](body))
	}, func(r fndapi.BulkRequest[fndapi.FindByStringId]) *util.HttpError {
		_, err := PublicIpDelete(alice, r)
		return err
	}, func(id string) {
		item := fmt.Sprintf(`{"id":"%s","firewall":{"openPorts":[{"start":443,"end":443,"protocol":"TCP"},{"start":53,"end":53,"protocol":"UDP"}]}}`, id)
		capture("networkips.updateFirewall", "POST", "/api/networkips/firewall", `{"items":[`+item+`]}`, "["+item+"]", func() *util.HttpError {
			return PublicIpUpdateFirewall(alice, decode[fndapi.BulkRequest[orcapi.PublicIpUpdateFirewallRequest]](`{"items":[`+item+`]}`))
		})
		none := fmt.Sprintf(`{"id":"%s","firewall":{"openPorts":[]}}`, id)
		capture("networkips.updateFirewall", "POST", "/api/networkips/firewall", `{"items":[`+none+`]}`, "["+none+"]", func() *util.HttpError {
			return PublicIpUpdateFirewall(alice, decode[fndapi.BulkRequest[orcapi.PublicIpUpdateFirewallRequest]](`{"items":[`+none+`]}`))
		})
	})
	simple("licenses", `{"product":{"id":"lic","category":"lic","provider":"hpc"}}`, func(body string) (string, *util.HttpError) {
		made, err := LicenseCreate(alice, decode[fndapi.BulkRequest[orcapi.LicenseSpecification]](body))
		if err != nil {
			return "", err
		}
		return made[0].Id, nil
	}, func(body string) *util.HttpError {
		return LicenseUpdateLabels(alice, decode[fndapi.BulkRequest[orcapi.LicensesUpdateLabelsRequest]](body))
	}, func(r fndapi.BulkRequest[fndapi.FindByStringId]) *util.HttpError {
		_, err := LicenseDelete(alice, r)
		return err
	}, nil)
	simple("private-networks", `{"name":" My net ","subdomain":" MyNet ","product":{"id":"nets","category":"nets","provider":"hpc"}}`, func(body string) (string, *util.HttpError) {
		made, err := PrivateNetworkCreate(alice, decode[fndapi.BulkRequest[orcapi.PrivateNetworkSpecification]](body))
		if err != nil {
			return "", err
		}
		return made[0].Id, nil
	}, func(body string) *util.HttpError {
		return PrivateNetworkUpdateLabels(alice, decode[fndapi.BulkRequest[orcapi.PrivateNetworksUpdateLabelsRequest]](body))
	}, func(r fndapi.BulkRequest[fndapi.FindByStringId]) *util.HttpError {
		return PrivateNetworkDelete(alice, r)
	}, nil)
	share := ref(`{"sharedWith":"bob#0002","sourceFilePath":"/{d}/a","permissions":["READ","EDIT"],"product":{"id":"disk","category":"disk","provider":"hpc"}}`)
	simple("shares", share, func(body string) (string, *util.HttpError) {
		return ShareCreate(alice, decode[fndapi.BulkRequest[orcapi.ShareSpecification]](body).Items[0])
	}, nil, nil, nil)

	// --- others
	keys := []orcapi.SshKey{}
	for i, key := range []string{"ssh-ed25519 AAAAC3Nz b", "ssh-ed25519 AAAAC3Na a"} {
		k := decode[orcapi.SshKey](fmt.Sprintf(`{"id":"%d","owner":"Ælice#1234","createdAt":1700000000000,"fingerprint":"SHA256:x","specification":{"title":"key %d","key":"%s"}}`, i+1, i+1, key))
		keys = append(keys, k)
	}
	capture("ssh.keyUploaded", "POST", "/api/ssh", `{"items":[{"title":"key 2","key":"ssh-ed25519 AAAAC3Na a\n"}]}`, `[{"keys":["ssh-ed25519 AAAAC3Nz b","ssh-ed25519 AAAAC3Na a\n"]}]`, func() *util.HttpError {
		_, err := InvokeProvider("hpc", orcapi.SshProviderKeyUploaded, orcapi.SshProviderKeyUploadedRequest{Username: alice.Username, AllKeys: keys}, opts)
		return err
	})
	capture("ssh.keyUploaded", "DELETE", "/api/ssh", `{"items":[{"id":"1"}]}`, `[{"keys":[]}]`, func() *util.HttpError {
		_, err := InvokeProvider("hpc", orcapi.SshProviderKeyUploaded, orcapi.SshProviderKeyUploadedRequest{Username: alice.Username}, opts)
		return err
	})
	task := `{"id":31,"requestedState":"SUSPENDED"}`
	capture("tasks.pauseOrCancel", "POST", "/api/tasks/pauseOrCancel", task, "["+task+"]", func() *util.HttpError {
		_, err := InvokeProvider("hpc", fndapi.TasksProviderPauseOrCancel, decode[fndapi.TasksPauseOrCancelRequest](task), opts)
		return err
	})
	capture("tokens.retrieveOptions", "GET", "/api/tokens/retrieveOptions", "", `[{}]`, func() *util.HttpError {
		_, err := InvokeProvider("hpc", orcapi.ApiTokenProviderRetrieveOptions, util.Empty{}, opts)
		return err
	})
	tokenSpec := `{"title":" Token ","description":" For scripts ","provider":"hpc","requestedPermissions":[{"name":"files","action":"read"}],"expiresAt":1900000000000}`
	capture("tokens.create", "POST", "/api/tokens", tokenSpec, `[{"specification":`+tokenSpec+`}]`, func() *util.HttpError {
		ApiTokensOptionsCache.Get("hpc", func() (orcapi.ApiTokenOptions, error) {
			return decode[orcapi.ApiTokenOptions](`{"availablePermissions":[{"name":"files","title":"","description":"","actions":{"read":"Read"}}]}`), nil
		})
		request := decode[orcapi.ApiTokenSpecification](tokenSpec)
		var herr *util.HttpError
		util.ValidateString(&request.Title, "title", 0, &herr)
		util.ValidateString(&request.Description, "description", util.StringValidationAllowEmpty, &herr)
		itok := &internalApiToken{Provider: request.Provider, Title: request.Title, Description: request.Description, Permissions: request.RequestedPermissions, ExpiresAt: request.ExpiresAt.Time()}
		_, tok, err := ResourceCreate[orcapi.ApiToken](alice, apiTokenType, orcapi.ResourceSpecification{}, itok)
		if err != nil {
			return err
		}
		_, err = InvokeProvider("hpc", orcapi.ApiTokenProviderCreate, tok, opts)
		return err
	})
	capture("tokens.revoke", "POST", "/api/tokens/revoke", `{"id":"9"}`, `[{"id":"9"}]`, func() *util.HttpError {
		_, err := InvokeProvider("hpc", orcapi.ApiTokenProviderRevoke, fndapi.FindByStringId{Id: "9"}, opts)
		return err
	})
	principal := orcapi.ResourceOwner{CreatedBy: alice.Username}
	config := `{"folders":[{"id":"f1","ucloudPath":"/` + d + `/sync"}],"devices":[{"deviceId":"AAAA","label":"laptop"}]}`
	for _, operation := range []string{"retrieve", "update", "reset", "restart"} {
		asked := `{"provider":"hpc","productId":"syncthing"}`
		params := `[{"productId":"syncthing"}]`
		if operation == "update" {
			asked = `{"provider":"hpc","productId":"syncthing","config":` + config + `,"expectedETag":"e1"}`
			params = `[{"productId":"syncthing","config":` + config + `,"expectedETag":"e1"}]`
		}
		capture("iapps.syncthing."+operation, "POST", "/api/iapps/syncthing/"+operation, asked, params, func() *util.HttpError {
			var err *util.HttpError
			switch operation {
			case "retrieve":
				request := decode[orcapi.IAppRetrieveConfigRequest](asked)
				_, err = InvokeProvider("hpc", orcapi.SyncthingProviderRetrieveConfiguration, orcapi.IAppProviderRetrieveConfigRequest{ProductId: request.ProductId, Principal: principal}, opts)
			case "update":
				request := decode[orcapi.IAppUpdateConfigurationRequest[orcapi.SyncthingConfig]](asked)
				_, err = InvokeProvider("hpc", orcapi.SyncthingProviderUpdateConfiguration, orcapi.IAppProviderUpdateConfigurationRequest[orcapi.SyncthingConfig]{ProductId: request.ProductId, Principal: principal, Config: request.Config, ExpectedETag: request.ExpectedETag}, opts)
			case "reset":
				_, err = InvokeProvider("hpc", orcapi.SyncthingProviderReset, orcapi.IAppProviderResetRequest{ProductId: "syncthing", Principal: principal}, opts)
			case "restart":
				_, err = InvokeProvider("hpc", orcapi.SyncthingProviderRestart, orcapi.IAppProviderRestartRequest{ProductId: "syncthing", Principal: principal}, opts)
			}
			return err
		})
	}
	os.Setenv("UCLOUD_DEV", "true")
	source := orcapi.FilesProviderTransferRequest{Type: orcapi.FilesProviderTransferReqTypeInitiateSource}
	source.SourcePath, source.SourceDrive, source.DestinationProvider = ref("/{d}/a"), drive, "dst"
	capture("files.transfer", "POST", "/api/files/transfer", ref(`{"items":[{"sourcePath":"/{d}/a","destinationPath":"/77/b"}]}`), ref(`[{"type":"InitiateSource","sourcePath":"/{d}/a","destinationProvider":"dst"}]`), func() *util.HttpError {
		_, err := InvokeProvider("hpc", orcapi.FilesProviderTransfer, source, opts)
		return err
	})
	dest := orcapi.FilesProviderTransferRequest{Type: orcapi.FilesProviderTransferReqTypeInitiateDestination}
	dest.DestinationPath, dest.DestinationDrive, dest.SourceProvider, dest.FilesProviderTransferRequestInitiateDestination.SupportedProtocols = ref("/{d}/b"), drive, "src", []string{"built-in"}
	capture("files.transfer", "POST", "/api/files/transfer", ref(`{"items":[{"sourcePath":"/77/a","destinationPath":"/{d}/b"}]}`), ref(`[{"type":"InitiateDestination","destinationPath":"/{d}/b","sourceProvider":"src"}]`), func() *util.HttpError {
		_, err := InvokeProvider("hpc", orcapi.FilesProviderTransfer, dest, opts)
		return err
	})
	capture("files.collections.delete", "DELETE", "/api/files/collections", ref(`{"items":[{"id":"{d}"}]}`), ref(`[{"id":"{d}"}]`), func() *util.HttpError {
		_, err := DriveDelete(alice, decode[fndapi.BulkRequest[fndapi.FindByStringId]](ref(`{"items":[{"id":"{d}"}]}`)))
		return err
	})

	var out bytes.Buffer
	out.WriteString("[\n")
	for i, f := range all {
		line, err := json.Marshal(f)
		if err != nil {
			t.Fatalf("%s: %v: %s %s", f.Call, err, f.Asked.Body, f.Params)
		}
		if i > 0 {
			out.WriteString(",\n")
		}
		out.Write(line)
		if f.Problem != "" {
			fmt.Println(f.Call, "->", f.Problem)
		}
	}
	out.WriteString("\n]\n")
	os.WriteFile(os.Getenv("CAPTURE_TO"), out.Bytes(), 0o644)
}
