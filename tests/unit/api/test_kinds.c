/* SPDX-License-Identifier: Apache-2.0
 * Validation kind by kind: a valid object, changes to it (merge patches) on create and on update,
 * and the causes they must give. JSON is written with ' for ". */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "api/rules.h"
#include "xebec/base/timefmt.h"

struct row { /* kind NULL ends; base NULL: of the row before */
	const char *kind, *base;
	bool update;
	const char *patch;
	const char *causes; /* "Invalid a.b;Required c", in any order */
};

#define M  "'metadata':{'name':'x'}"
#define MN "'metadata':{'name':'x','namespace':'d'}"
#define C(patch, causes)                                                                           \
	{                                                                                          \
		NULL, NULL, false, patch, causes                                                   \
	}
#define U(patch, causes)                                                                           \
	{                                                                                          \
		NULL, NULL, true, patch, causes                                                    \
	}
#define K(kind, base)                                                                              \
	{                                                                                          \
		kind, base, false, "{}", ""                                                        \
	}

/* Group/version/kind. */
static const struct row storage[] = {
	K("storage.k8s.io/v1/StorageClass", "{" M ",'provisioner':'a.b/c'}"),
	C("{'provisioner':''}", "Required provisioner"),
	C("{'provisioner':'a/b/c'}", "Invalid provisioner"),
	C("{'reclaimPolicy':'Recycle'}", "NotSupported reclaimPolicy"),
	C("{'volumeBindingMode':'X'}", "NotSupported volumeBindingMode"),
	C("{'allowedTopologies':[{'matchLabelExpressions':[{'key':'k','values':[]}]}]}",
		"Required allowedTopologies[0].matchLabelExpressions[0].values"),
	U("{'provisioner':'z'}", "Forbidden provisioner"),
	U("{'parameters':{'a':'b'}}", "Forbidden parameters"),
	U("{'volumeBindingMode':'WaitForFirstConsumer'}", "Invalid volumeBindingMode"),
	U("{'allowVolumeExpansion':true}", ""),
	K("storage.k8s.io/v1/VolumeAttributesClass",
		"{" M ",'driverName':'d.e','parameters':{'a':'b'}}"),
	C("{'driverName':''}", "Required driverName"),
	C("{'parameters':null}", "Required parameters"),
	U("{'parameters':{'a':'c'}}", "Forbidden parameters"),
	K("storage.k8s.io/v1/CSIDriver", "{" M ",'spec':{}}"),
	C("{'spec':{'fsGroupPolicy':'X'}}", "NotSupported spec.fsGroupPolicy"),
	C("{'spec':{'volumeLifecycleModes':['X']}}", "NotSupported spec.volumeLifecycleModes"),
	C("{'spec':{'tokenRequests':[{'audience':'a'},{'audience':'a','expirationSeconds':1}]}}",
		"Duplicate spec.tokenRequests[1].audience;"
		"Invalid spec.tokenRequests[1].expirationSeconds"),
	U("{'spec':{'attachRequired':false}}", "Invalid spec.attachedRequired"),
	U("{'spec':{'podInfoOnMount':true}}", ""),
	K("storage.k8s.io/v1/CSINode",
		"{" M ",'spec':{'drivers':[{'name':'d','nodeID':'n','topologyKeys':['a/b']}]}}"),
	C("{'spec':{'drivers':null}}", ""),
	C("{'spec':{'drivers':[{'name':'d','nodeID':''}]}}", "Required spec.drivers[0].nodeID"),
	C("{'spec':{'drivers':[{'name':'d','nodeID':'n','topologyKeys':['a','a']}]}}",
		"Duplicate spec.drivers[0].topologyKeys"),
	C("{'spec':{'drivers':[{'name':'d','nodeID':'n'},{'name':'d','nodeID':'m'}]}}",
		"Duplicate spec.drivers[1].name"),
	U("{'spec':{'drivers':[{'name':'d','nodeID':'m'}]}}", "Invalid spec.drivers[0]"),
	U("{'spec':{'drivers':[]}}", ""),
	K("storage.k8s.io/v1/CSIStorageCapacity", "{" MN ",'storageClassName':'c'}"),
	C("{'storageClassName':''}", "Required storageClassName"),
	C("{'capacity':'-1'}", "Invalid capacity"),
	U("{'storageClassName':'e'}", "Invalid storageClassName"),
	U("{'capacity':'5'}", ""),
	K("storage.k8s.io/v1/VolumeAttachment",
		"{" M ",'spec':{'attacher':'a','nodeName':'n','source':{"
		"'persistentVolumeName':'v'}}}"),
	C("{'spec':{'attacher':'','nodeName':''}}",
		"Required spec.attacher;Required spec.nodeName"),
	C("{'spec':{'source':{'persistentVolumeName':null}}}", "Required spec.source"),
	C("{'spec':{'source':{'inlineVolumeSpec':{}}}}", "Forbidden spec.source"),
	U("{'spec':{'nodeName':'m'}}", "Invalid spec"),
	K("/v1/PersistentVolume", "{" M ",'spec':{'capacity':{'storage':'1Gi'},'accessModes':["
				  "'ReadWriteOnce'],'hostPath':{'path':'/x'}}}"),
	C("{'spec':{'capacity':null}}", "Required spec.capacity"),
	C("{'spec':{'capacity':{'storage':'0'}}}", "Invalid spec.capacity[storage]"),
	C("{'spec':{'capacity':{'cpu':'1'}}}", "NotSupported spec.capacity"),
	C("{'spec':{'accessModes':[]}}", "Required spec.accessModes"),
	C("{'spec':{'accessModes':['X']}}", "NotSupported spec.accessModes"),
	C("{'spec':{'accessModes':['ReadWriteOnce','ReadWriteOncePod']}}",
		"Forbidden spec.accessModes"),
	C("{'spec':{'hostPath':null}}", "Required spec"),
	C("{'spec':{'nfs':{'server':'s','path':'/p'}}}", "Forbidden spec.nfs"),
	C("{'spec':{'hostPath':null,'csi':{'driver':'d','volumeHandle':''}}}",
		"Required spec.csi.volumeHandle"),
	C("{'spec':{'hostPath':null,'local':{'path':'/p'}}}", "Required metadata.annotations"),
	C("{'spec':{'persistentVolumeReclaimPolicy':'X'}}",
		"NotSupported spec.persistentVolumeReclaimPolicy"),
	C("{'spec':{'volumeMode':'X'}}", "NotSupported spec.volumeMode"),
	U("{'spec':{'hostPath':{'path':'/y'}}}", "Forbidden spec.persistentvolumesource"),
	U("{'spec':{'volumeMode':'Block'}}", "Invalid spec.volumeMode"),
	K("/v1/PersistentVolumeClaim", "{" MN ",'spec':{'accessModes':['ReadWriteOnce'],"
				       "'resources':{'requests':{'storage':'1Gi'}}}}"),
	C("{'spec':{'resources':null}}", "Required spec.resources[storage]"),
	C("{'spec':{'resources':{'requests':{'storage':'0'}}}}", "Invalid spec.resources[storage]"),
	C("{'spec':{'storageClassName':'A'}}", "Invalid spec.storageClassName"),
	C("{'spec':{'dataSource':{'kind':'Pod','name':'p'}}}", "Invalid spec.dataSource"),
	U("{'spec':{'resources':{'requests':{'storage':'2Gi'}}}}", "Forbidden spec"),
	U("{'spec':{'volumeName':'v'}}", ""),
	{0},
};

static const struct row quotas[] = {
	K("/v1/ResourceQuota", "{" MN ",'spec':{'hard':{'pods':'1'}}}"),
	C("{'spec':{'hard':{'pods':'-1'}}}", "Invalid spec.hard[pods]"),
	C("{'spec':{'scopes':['X']}}", "Invalid spec.scopes"),
	C("{'spec':{'scopes':['BestEffort','NotBestEffort']}}", "Invalid spec.scopes"),
	C("{'spec':{'hard':{'services':'1'},'scopes':['BestEffort']}}", "Invalid spec.scopes"),
	C("{'spec':{'scopeSelector':{'matchExpressions':[{'scopeName':'PriorityClass',"
	  "'operator':'In'}]}}}",
		"Required spec.scopeSelector.matchExpressions.values"),
	C("{'spec':{'scopeSelector':{'matchExpressions':[{'scopeName':'BestEffort',"
	  "'operator':'DoesNotExist'}]}}}",
		"Invalid spec.scopeSelector.matchExpressions.operator"),
	U("{'spec':{'scopes':['BestEffort']}}", "Invalid spec.scopes"),
	U("{'spec':{'hard':{'pods':'7'}}}", ""),
	K("/v1/LimitRange", "{" MN ",'spec':{'limits':[{'type':'Container'}]}}"),
	C("{'spec':null}", ""),
	C("{'spec':{'limits':[{'type':'X'}]}}", "Invalid spec.limits[0].type"),
	C("{'spec':{'limits':[{'type':'Pod'},{'type':'Pod'}]}}", "Duplicate spec.limits[1].type"),
	C("{'spec':{'limits':[{'type':'Pod','default':{'cpu':'1'}}]}}",
		"Forbidden spec.limits[0].default"),
	C("{'spec':{'limits':[{'type':'Container','max':{'foo':'1'}}]}}",
		"Invalid spec.limits[0].max[foo];Invalid spec.limits[0].max[foo];"
		"Invalid spec.limits[0].default[foo];Invalid spec.limits[0].default[foo];"
		"Invalid spec.limits[0].defaultRequest[foo];"
		"Invalid spec.limits[0].defaultRequest[foo]"),
	C("{'spec':{'limits':[{'type':'Pod','min':{'cpu':'2'},'max':{'cpu':'1'}}]}}",
		"Invalid spec.limits[0].min[cpu]"),
	C("{'spec':{'limits':[{'type':'Container','min':{'cpu':'2'},'defaultRequest':{'cpu':'1'}"
	  "}]}}",
		"Invalid spec.limits[0].defaultRequest[cpu]"),
	C("{'spec':{'limits':[{'type':'Pod','maxLimitRequestRatio':{'cpu':'500m'}}]}}",
		"Invalid spec.limits[0].maxLimitRequestRatio[cpu]"),
	C("{'spec':{'limits':[{'type':'PersistentVolumeClaim'}]}}",
		"Required spec.limits[0].limits"),
	{0},
};

static const struct row rights[] = {
	K("rbac.authorization.k8s.io/v1/Role",
		"{" MN ",'rules':[{'verbs':['get'],'apiGroups':[''],'resources':['pods']}]}"),
	C("{'rules':[{'verbs':[],'apiGroups':[''],'resources':['pods']}]}",
		"Required rules[0].verbs"),
	C("{'rules':[{'verbs':['get']}]}",
		"Required rules[0].apiGroups;Required rules[0].resources"),
	C("{'rules':[{'verbs':['get'],'nonResourceURLs':['/x']}]}",
		"Invalid rules[0].nonResourceURLs"),
	K("rbac.authorization.k8s.io/v1/ClusterRole",
		"{" M ",'rules':[{'verbs':['get'],'nonResourceURLs':['/x']}]}"),
	C("{'rules':[{'verbs':['get'],'nonResourceURLs':['/x'],'resources':['pods']}]}",
		"Invalid rules[0].nonResourceURLs"),
	C("{'aggregationRule':{'clusterRoleSelectors':[]}}",
		"Required aggregationRule.clusterRoleSelectors"),
	K("rbac.authorization.k8s.io/v1/RoleBinding",
		"{" MN
		",'roleRef':{'apiGroup':'rbac.authorization.k8s.io','kind':'Role','name':'r'}}"),
	C("{'roleRef':{'kind':'X'}}", "NotSupported roleRef.kind"),
	C("{'roleRef':{'apiGroup':'x'}}", "NotSupported roleRef.apiGroup"),
	C("{'roleRef':{'name':''}}", "Required roleRef.name"),
	C("{'subjects':[{'kind':'User','name':''}]}", "Required subjects[0].name"),
	C("{'subjects':[{'kind':'ServiceAccount','name':'s'}]}", ""),
	C("{'subjects':[{'kind':'X','name':'s'}]}", "NotSupported subjects[0].kind"),
	C("{'subjects':[{'kind':'User','name':'s','apiGroup':'x'}]}",
		"NotSupported subjects[0].apiGroup"),
	U("{'roleRef':{'name':'q'}}", "Invalid roleRef"),
	K("rbac.authorization.k8s.io/v1/ClusterRoleBinding",
		"{" M ",'roleRef':{'apiGroup':'rbac.authorization.k8s.io','kind':'ClusterRole',"
		"'name':'r'}}"),
	C("{'roleRef':{'kind':'Role'}}", "NotSupported roleRef.kind"),
	C("{'subjects':[{'kind':'ServiceAccount','name':'s'}]}", "Required subjects[0].namespace"),
	K("certificates.k8s.io/v1/CertificateSigningRequest",
		"{" M ",'spec':{'signerName':'a.b/c','usages':['client auth'],'request':"
		"'LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0='}}"),
	C("{'spec':{'signerName':''}}", "Required spec.signerName"),
	C("{'spec':{'signerName':'abc'}}", "Invalid spec.signerName"),
	C("{'spec':{'signerName':'kubernetes.io/legacy-unknown'}}", "Invalid spec.signerName"),
	C("{'spec':{'usages':[]}}", "Required spec.usages"),
	C("{'spec':{'usages':['x','any','any']}}",
		"NotSupported spec.usages[0];Duplicate spec.usages[2]"),
	C("{'spec':{'expirationSeconds':1}}", "Invalid spec.expirationSeconds"),
	C("{'spec':{'request':'YQ=='}}", "Invalid spec.request"),
	K("apiregistration.k8s.io/v1/APIService",
		"{'metadata':{'name':'v1.g.e'},'spec':{'group':'g.e','version':'v1',"
		"'groupPriorityMinimum':1,'versionPriority':1}}"),
	C("{'metadata':{'name':'v2.g.e'}}", "Invalid metadata.name"),
	C("{'spec':{'versionPriority':1001}}", "Invalid spec.versionPriority"),
	C("{'spec':{'service':{'name':'s'}}}", "Required spec.service.namespace"),
	K("apps/v1/ControllerRevision", "{" MN ",'revision':1,'data':{'a':1}}"),
	C("{'revision':-1}", "Invalid revision"),
	C("{'data':null}", "Required data"),
	U("{'data':{'a':2}}", "Invalid data"),
	K("scheduling.k8s.io/v1/PriorityClass", "{" M ",'value':5}"),
	C("{'value':2000000000}", "Forbidden value"),
	C("{'preemptionPolicy':'X'}", "NotSupported preemptionPolicy"),
	C("{'metadata':{'name':'system-x'}}", "Forbidden metadata.name"),
	U("{'value':6}", "Forbidden value"),
	K("coordination.k8s.io/v1/Lease", "{" MN ",'spec':{'holderIdentity':'a'}}"),
	C("{'spec':{'holderIdentity':''}}", "Invalid spec.holderIdentity"),
	C("{'spec':{'leaseTransitions':-1}}", "Invalid spec.leaseTransitions"),
	K("node.k8s.io/v1/RuntimeClass", "{" M ",'handler':'h'}"),
	C("{'handler':'H'}", "Invalid handler"),
	U("{'handler':'i'}", "Invalid handler"),
	{0},
};

#define HOOK                                                                                       \
	"'name':'a.b.c','sideEffects':'None','admissionReviewVersions':['v1'],'clientConfig':{"    \
	"'url':'https://h/p'}"
#define RULE "'apiGroups':[''],'apiVersions':['v1'],'operations':['CREATE'],'resources':['pods']"
static const struct row admission[] = {
	K("admissionregistration.k8s.io/v1/ValidatingWebhookConfiguration",
		"{" M ",'webhooks':[{" HOOK ",'rules':[{" RULE "}]}]}"),
	C("{'webhooks':[{" HOOK ",'rules':[{" RULE ",'scope':'X'}]}]}",
		"NotSupported webhooks[0].rules[0].scope"),
	C("{'webhooks':[{" HOOK ",'rules':[{'operations':['*','CREATE'],'apiGroups':[],"
	  "'apiVersions':['v1'],'resources':['']}]}]}",
		"Invalid webhooks[0].rules[0].operations;Required webhooks[0].rules[0].apiGroups;"
		"Required webhooks[0].rules[0].resources[0]"),
	C("{'webhooks':[{'name':'a.b','sideEffects':'Some','admissionReviewVersions':['v2'],"
	  "'clientConfig':{}}]}",
		"Invalid webhooks[0].name;NotSupported webhooks[0].sideEffects;"
		"Required webhooks[0].clientConfig;Invalid webhooks[0].admissionReviewVersions"),
	C("{'webhooks':[{" HOOK "},{" HOOK ",'timeoutSeconds':31}]}",
		"Duplicate webhooks[1].name;Invalid webhooks[1].timeoutSeconds"),
	C("{'webhooks':[{'name':'a.b.c','admissionReviewVersions':[],'clientConfig':{'url':"
	  "'http://x'}}]}",
		"Required webhooks[0].sideEffects;Invalid webhooks[0].clientConfig.url;"
		"Required webhooks[0].admissionReviewVersions"),
	C("{'webhooks':[{" HOOK ",'matchConditions':[{'name':'','expression':''}]}]}",
		"Required webhooks[0].matchConditions[0].name;"
		"Required webhooks[0].matchConditions[0].expression"),
	K("admissionregistration.k8s.io/v1/MutatingWebhookConfiguration",
		"{" M ",'webhooks':[{" HOOK "}]}"),
	C("{'webhooks':[{" HOOK ",'reinvocationPolicy':'X'}]}",
		"NotSupported webhooks[0].reinvocationPolicy"),
	K("admissionregistration.k8s.io/v1/ValidatingAdmissionPolicy",
		"{" M ",'spec':{'matchConstraints':{'resourceRules':[{" RULE "}]},"
		"'validations':[{'expression':'true'}]}}"),
	C("{'spec':{'validations':null}}",
		"Required spec.validations;Required spec.auditAnnotations"),
	C("{'spec':{'matchConstraints':null}}", "Required spec.matchConstraints"),
	C("{'spec':{'matchConstraints':{'resourceRules':[]}}}",
		"Required spec.matchConstraints.resourceRules"),
	C("{'spec':{'validations':[{'expression':'','message':'a\\nb','reason':'X'}]}}",
		"Required spec.validations[0].expression;Invalid spec.validations[0].message;"
		"NotSupported spec.validations[0].reason"),
	C("{'spec':{'failurePolicy':'X','variables':[{'name':'a-b','expression':''}]}}",
		"NotSupported spec.failurePolicy;Invalid spec.variables[0].name;"
		"Required spec.variables[0].expression"),
	K("admissionregistration.k8s.io/v1/ValidatingAdmissionPolicyBinding",
		"{" M ",'spec':{'policyName':'p','validationActions':['Deny']}}"),
	C("{'spec':{'policyName':''}}", "Required spec.policyName"),
	C("{'spec':{'validationActions':[]}}", "Required spec.validationActions"),
	C("{'spec':{'validationActions':['Deny','Warn']}}", "Invalid spec.validationActions"),
	C("{'spec':{'validationActions':['Deny','Deny','X']}}",
		"Duplicate spec.validationActions[1];NotSupported spec.validationActions[2]"),
	C("{'spec':{'paramRef':{'parameterNotFoundAction':'Deny'}}}", "Required spec.paramRef"),
	C("{'spec':{'paramRef':{'name':'a'}}}", "Required spec.paramRef.parameterNotFoundAction"),
	{0},
};

static const struct row network[] = {
	K("networking.k8s.io/v1/IngressClass", "{" M ",'spec':{'controller':'a.b/c'}}"),
	C("{'spec':{'controller':''}}", "Required spec.controller"),
	C("{'spec':{'controller':'abc'}}", "Invalid spec.controller"),
	C("{'spec':{'parameters':{'kind':'','name':'n'}}}", "Required spec.parameters.kind"),
	C("{'spec':{'parameters':{'kind':'K','name':'n','scope':'Namespace'}}}",
		"Required spec.parameters.namespace"),
	C("{'spec':{'parameters':{'kind':'K','name':'n','namespace':'d'}}}",
		"Forbidden spec.parameters.namespace"),
	U("{'spec':{'controller':'a.b/d'}}", "Invalid spec.controller"),
	K("networking.k8s.io/v1/IPAddress",
		"{'metadata':{'name':'10.0.0.1'},'spec':{'parentRef':{'resource':'services',"
		"'name':'s'}}}"),
	C("{'metadata':{'name':'a'}}", "Invalid metadata.name"),
	C("{'spec':{'parentRef':null}}", "Required spec.parentRef"),
	C("{'spec':{'parentRef':{'name':''}}}", "Required spec.parentRef.name"),
	U("{'spec':{'parentRef':{'name':'t'}}}", "Invalid spec.parentRef"),
	K("networking.k8s.io/v1/ServiceCIDR", "{" M ",'spec':{'cidrs':['10.0.0.0/24']}}"),
	C("{'spec':{'cidrs':[]}}", "Required spec.cidrs"),
	C("{'spec':{'cidrs':['x']}}", "Invalid spec.cidrs[0]"),
	C("{'spec':{'cidrs':['10.0.0.0/24','10.0.1.0/24']}}", "Invalid spec.cidrs"),
	U("{'spec':{'cidrs':['10.0.2.0/24']}}", "Invalid spec.cidrs[0]"),
	K("networking.k8s.io/v1/NetworkPolicy", "{" MN ",'spec':{'podSelector':{}}}"),
	C("{'spec':{'ingress':[{'from':[{}]}]}}", "Required spec.ingress[0].from[0]"),
	C("{'spec':{'ingress':[{'ports':[{'endPort':5}]}]}}",
		"Invalid spec.ingress[0].ports[0].endPort"),
	C("{'spec':{'egress':[{'to':[{'ipBlock':{'cidr':'10.0.0.0/8','except':['11.0.0.0/16']}}]"
	  "}]}}",
		"Invalid spec.egress[0].to[0].ipBlock.except[0]"),
	C("{'spec':{'policyTypes':['Ingress','Egress','Ingress']}}", "Invalid spec.policyTypes"),
	K("networking.k8s.io/v1/Ingress",
		"{" MN ",'spec':{'defaultBackend':{'service':{'name':'s','port':{'number':80}}}}}"),
	C("{'spec':{'tls':[{'hosts':['a_b']}]}}", "Invalid spec.tls[0].hosts[0]"),
	C("{'spec':{'ingressClassName':'A'}}", "Invalid spec.ingressClassName"),
	C("{'spec':{'defaultBackend':{'resource':{'kind':'k','name':'n'}}}}",
		"Invalid spec.defaultBackend"),
	C("{'spec':{'defaultBackend':{'service':null,'resource':{'kind':'','name':'n'}}}}",
		"Required spec.defaultBackend.resource.kind"),
	C("{'spec':{'rules':[{'http':{'paths':[{'path':'/a//b','pathType':'Exact','backend':{"
	  "'service':{'name':'s','port':{'number':80}}}}]}}]}}",
		"Invalid spec.rules[0].http.paths[0].path"),
	K("discovery.k8s.io/v1/EndpointSlice",
		"{" MN ",'addressType':'IPv4','endpoints':[{'addresses':['10.0.0.1']}]}"),
	C("{'endpoints':[{'addresses':['127.0.0.1']}]}", "Invalid endpoints[0].addresses[0]"),
	C("{'endpoints':[{'addresses':['10.0.0.1'],'hints':{'forZones':[{'name':''}]}}]}",
		"Required endpoints[0].hints.forZones[0].name"),
	C("{'ports':[{'appProtocol':'a b'}]}", "Invalid ports[0].appProtocol"),
	U("{'addressType':'IPv6','endpoints':[]}", "Invalid addressType"),
	K("/v1/Endpoints", "{" MN ",'subsets':[{'addresses':[{'ip':'10.0.0.1'}]}]}"),
	C("{'subsets':[{'addresses':[{'ip':'169.254.1.1'}]}]}",
		"Invalid subsets[0].addresses[0].ip"),
	K("/v1/Service", "{" MN ",'spec':{'ports':[{'port':80}]}}"),
	C("{'spec':{'externalIPs':['127.0.0.1']}}", "Invalid spec.externalIPs[0]"),
	{0},
};

#define FLOW_RULE                                                                                  \
	"'subjects':[{'kind':'User','user':{'name':'u'}}],'nonResourceRules':[{'verbs':['*'],"     \
	"'nonResourceURLs':['*']}]"
static const struct row flow[] = {
	K("flowcontrol.apiserver.k8s.io/v1/FlowSchema",
		"{" M ",'spec':{'priorityLevelConfiguration':{'name':'p'},'rules':[{" FLOW_RULE
		"}]}}"),
	C("{'spec':{'matchingPrecedence':10001}}", "Invalid spec.matchingPrecedence"),
	C("{'spec':{'priorityLevelConfiguration':null}}",
		"Required spec.priorityLevelConfiguration.name"),
	C("{'spec':{'distinguisherMethod':{'type':'X'}}}",
		"NotSupported spec.distinguisherMethod.type"),
	C("{'spec':{'rules':[{'subjects':[]}]}}",
		"Required spec.rules[0].subjects;Required spec.rules[0]"),
	C("{'spec':{'rules':[{" FLOW_RULE ",'resourceRules':[{'verbs':['*'],'apiGroups':['*'],"
	  "'resources':['*']}]}]}}",
		"Required spec.rules[0].resourceRules[0].namespaces"),
	K("flowcontrol.apiserver.k8s.io/v1/PriorityLevelConfiguration",
		"{" M ",'spec':{'type':'Limited','limited':{'limitResponse':{'type':'Reject'}}}}"),
	C("{'spec':{'type':'X'}}", "NotSupported spec.type"),
	C("{'spec':{'type':'Exempt'}}", "Forbidden spec.limited"),
	C("{'spec':{'limited':null}}", "Required spec.limited"),
	C("{'spec':{'limited':{'lendablePercent':101}}}", "Invalid spec.limited.lendablePercent"),
	C("{'spec':{'limited':{'limitResponse':{'queuing':{}}}}}",
		"Forbidden spec.limited.limitResponse.queuing"),
	C("{'spec':{'limited':{'limitResponse':{'type':'Queue','queuing':{'queues':2,"
	  "'handSize':3}}}}}",
		"Invalid spec.limited.limitResponse.queuing.handSize"),
	{0},
};

#define HPA(metric) "{'spec':{'metrics':[" metric "]}}"
static const struct row scaling[] = {
	K("autoscaling/v2/HorizontalPodAutoscaler",
		"{" MN ",'spec':{'scaleTargetRef':{'kind':'D','name':'n'},'maxReplicas':3}}"),
	C("{'spec':{'scaleTargetRef':{'kind':'','name':'a/b'}}}",
		"Required spec.scaleTargetRef.kind;Invalid spec.scaleTargetRef.name"),
	C("{'spec':{'minReplicas':4}}", "Invalid spec.maxReplicas"),
	C(HPA("{'type':'X'}"), "NotSupported spec.metrics[0].type"),
	C(HPA("{'type':'Resource'}"), "Required spec.metrics[0].resource"),
	C(HPA("{'type':'Resource','resource':{'name':'cpu','target':{'type':'Utilization'}}}"),
		"Required spec.metrics[0].resource.target.averageUtilization"),
	C(HPA("{'type':'Resource','resource':{'name':'','target':{'type':'Utilization',"
	      "'averageUtilization':0,'averageValue':'1'}}}"),
		"Required spec.metrics[0].resource.name;"
		"Invalid spec.metrics[0].resource.target.averageUtilization;"
		"Forbidden spec.metrics[0].resource.target.averageValue"),
	C(HPA("{'type':'Pods','pods':{'metric':{'name':'m'},'target':{'type':'AverageValue'}}}"),
		"Required spec.metrics[0].pods.target.averageValue"),
	C("{'spec':{'behavior':{'scaleUp':{'stabilizationWindowSeconds':3601,'policies':[{"
	  "'type':'Pods','value':0,'periodSeconds':1801}]}}}}",
		"Invalid spec.behavior.scaleUp.stabilizationWindowSeconds;"
		"Invalid spec.behavior.scaleUp.policies[0].value;"
		"Invalid spec.behavior.scaleUp.policies[0].periodSeconds"),
	K("policy/v1/PodDisruptionBudget", "{" MN ",'spec':{'minAvailable':1}}"),
	C("{'spec':{'minAvailable':'101%'}}", "Invalid spec.minAvailable"),
	C("{'spec':{'unhealthyPodEvictionPolicy':'X'}}",
		"NotSupported spec.unhealthyPodEvictionPolicy"),
	{0},
};

#define REQ "{'name':'r','exactly':{'deviceClassName':'c'}}"
static const struct row devices[] = {
	K("resource.k8s.io/v1/DeviceClass", "{" M ",'spec':{}}"),
	C("{'spec':{'selectors':[{}]}}", "Required spec.selectors[0].cel"),
	K("resource.k8s.io/v1/ResourceClaim", "{" MN ",'spec':{'devices':{'requests':[" REQ "]}}}"),
	C("{'spec':{'devices':{'requests':[{'name':'r'}]}}}", "Required spec.devices.requests[0]"),
	C("{'spec':{'devices':{'requests':[" REQ "," REQ "]}}}",
		"Duplicate spec.devices.requests[1].name"),
	C("{'spec':{'devices':{'requests':[{'name':'r','exactly':{'deviceClassName':''}}]}}}",
		"Required spec.devices.requests[0].exactly.deviceClassName"),
	C("{'spec':{'devices':{'constraints':[{'requests':['q']}]}}}",
		"Invalid spec.devices.constraints[0].requests[0]"),
	U("{'spec':{'devices':{'requests':[]}}}", "Invalid spec"),
	K("resource.k8s.io/v1/ResourceSlice",
		"{" M ",'spec':{'driver':'d','pool':{'name':'p','resourceSliceCount':1},"
		"'nodeName':'n'}}"),
	C("{'spec':{'nodeName':null}}", "Required spec"),
	C("{'spec':{'allNodes':true}}", "Invalid spec"),
	C("{'spec':{'devices':[{'name':'D'}]}}", "Invalid spec.devices[0].name"),
	{0},
};

#define POD_T                                                                                      \
	"'template':{'metadata':{'labels':{'a':'b'}},'spec':{'containers':[{'name':'c','image':"   \
	"'i'}]"
#define SEL "'selector':{'matchLabels':{'a':'b'}}"
static const struct row work[] = {
	K("apps/v1/StatefulSet", "{" MN ",'spec':{" SEL ",'serviceName':'s'," POD_T "}}}}"),
	C("{'spec':{'podManagementPolicy':'X'}}", "Invalid spec.podManagementPolicy"),
	C("{'spec':{'updateStrategy':{'type':'X'}}}", "Invalid spec.updateStrategy"),
	C("{'spec':{'updateStrategy':{'type':'OnDelete','rollingUpdate':{'partition':1}}}}",
		"Invalid spec.updateStrategy.rollingUpdate"),
	C("{'spec':{'updateStrategy':{'rollingUpdate':{'partition':-1}}}}",
		"Invalid spec.updateStrategy.rollingUpdate.partition"),
	C("{'spec':{'ordinals':{'start':-1}}}", "Invalid spec.ordinals.start"),
	C("{'spec':{'persistentVolumeClaimRetentionPolicy':{'whenDeleted':'X'}}}",
		"NotSupported spec.persistentVolumeClaimRetentionPolicy.whenDeleted"),
	U("{'spec':{'serviceName':'t'}}", "Forbidden spec"),
	K("apps/v1/DaemonSet", "{" MN ",'spec':{" SEL "," POD_T "}}}}"),
	C("{'spec':{'updateStrategy':{'type':'X'}}}", "NotSupported spec.updateStrategy"),
	C("{'spec':{'updateStrategy':{'rollingUpdate':{'maxSurge':1,'maxUnavailable':1}}}}",
		"Invalid spec.updateStrategy.rollingUpdate.maxSurge"),
	C("{'spec':{'updateStrategy':{'rollingUpdate':{'maxSurge':0,'maxUnavailable':0}}}}",
		"Required spec.updateStrategy.rollingUpdate.maxUnavailable"),
	K("apps/v1/Deployment", "{" MN ",'spec':{" SEL "," POD_T "}}}}"),
	C("{'spec':{'strategy':{'type':'X'}}}", "NotSupported spec.strategy"),
	K("batch/v1/Job", "{" MN ",'spec':{" POD_T ",'restartPolicy':'Never'}}}}"),
	C("{'spec':{'podReplacementPolicy':'X'}}", "NotSupported spec.podReplacementPolicy"),
	C("{'spec':{'podFailurePolicy':{'rules':[{'action':'X'}]}}}",
		"NotSupported spec.podFailurePolicy.rules[0].action;"
		"Invalid spec.podFailurePolicy.rules[0]"),
	C("{'spec':{'podFailurePolicy':{'rules':[{'action':'FailJob','onExitCodes':{'operator':"
	  "'In','values':[0]}}]}}}",
		"Invalid spec.podFailurePolicy.rules[0].onExitCodes.values[0]"),
	C("{'spec':{'podFailurePolicy':{'rules':[{'action':'Ignore','onPodConditions':[{'type':"
	  "'','status':'X'}]}]}}}",
		"Required spec.podFailurePolicy.rules[0].onPodConditions[0].type;"
		"NotSupported spec.podFailurePolicy.rules[0].onPodConditions[0].status"),
	C("{'spec':{'backoffLimitPerIndex':1}}", "Invalid spec.backoffLimitPerIndex"),
	C("{'spec':{'managedBy':'x'}}", "Invalid spec.managedBy"),
	C("{'spec':{'successPolicy':{'rules':[{'succeededCount':1}]}}}",
		"Invalid spec.successPolicy"),
	K("/v1/PodTemplate", "{" MN "," POD_T "}}}"),
	C("{'template':{'spec':{'containers':[]}}}", "Required template.spec.containers"),
	{0},
};

#define CT(x) "{'spec':{'containers':[{'name':'c','image':'i'," x "}]}}"
static const struct row pods[] = {
	K("/v1/Pod", "{" MN ",'spec':{'containers':[{'name':'c','image':'i'}]}}"),
	C(CT("'ports':[{'containerPort':1,'hostPort':9},{'containerPort':2,'hostPort':9}]"),
		"Duplicate spec.containers[0].ports[1].hostPort"),
	C(CT("'ports':[{'containerPort':1,'hostPort':9},{'containerPort':1,'hostPort':9,"
	     "'protocol':'UDP'}]"),
		""),
	C(CT("'securityContext':{'seccompProfile':{'type':'Localhost'}}"),
		"Required spec.containers[0].securityContext.seccompProfile.localhostProfile"),
	C("{'spec':{'securityContext':{'seccompProfile':{'type':'X'},'appArmorProfile':{"
	  "'type':'RuntimeDefault','localhostProfile':'f'}}}}",
		"NotSupported spec.securityContext.seccompProfile.type;"
		"Invalid spec.securityContext.appArmorProfile.localhostProfile"),
	C(CT("'resizePolicy':[{'resourceName':'disk','restartPolicy':'NotRequired'}]"),
		"NotSupported spec.containers[0].resizePolicy[0].resourceName"),
	C(CT("'volumeDevices':[{'name':'v','devicePath':'/d'}]"),
		"NotFound spec.containers[0].volumeDevices[0].name"),
	C(CT("'resources':{'claims':[{'name':'q'}]}"),
		"NotFound spec.containers[0].resources.claims[0].name"),
	C("{'spec':{'resourceClaims':[{'name':'r'}]}}", "Invalid spec.resourceClaims[0]"),
	C("{'spec':{'resourceClaims':[{'name':'r','resourceClaimName':'a'},{'name':'r',"
	  "'resourceClaimTemplateName':'b'}]}}",
		"Duplicate spec.resourceClaims[1].name"),
	C("{'spec':{'os':{'name':'plan9'}}}", "NotSupported spec.os.name"),
	{0},
};

static void quoted(const char *text, struct buf *out)
{
	for (const char *s = text; *s; s++)
		buf_addc(out, *s == '\'' ? '"' : *s);
}

static json_t *parse(const char *text)
{
	AUTO_BUF struct buf b = {0};
	json_t *j = NULL;
	quoted(text, &b);
	if (json_parse(buf_str(&b), &j, NULL) < 0)
		fail_msg("bad test text %s", text);
	return j;
}

static json_t *decode(const struct kind *k, const json_t *tree)
{
	AUTO_BUF struct buf b = {0};
	struct decode_opts o = {.media = MEDIA_JSON, .fields = FIELDS_STRICT};
	struct err e = {0};
	json_t *out = NULL;
	json_write(tree, &b);
	if (api_decode(k, buf_str(&b), &o, &out, &e) < 0)
		fail_msg("%s: %s", b.p, e.msg);
	api_default(k, out);
	return out;
}

static const struct kind *kind_of(const char *name)
{
	struct str rest = str_of(name), group = str_cut(&rest, '/'), version = str_cut(&rest, '/');
	const struct kind *k = kind_by_kind(group, version, rest);
	if (!k)
		fail_msg("no kind %s", name);
	return k;
}

static int order(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* "Invalid a.b;Required c" sorted. */
static void sorted(struct arena *a, struct str text, struct buf *out)
{
	char *parts[64];
	size_t n = 0;
	while (text.n && n < ARRAY_LEN(parts))
		parts[n++] = arena_strdup(a, str_cut(&text, ';'));
	qsort(parts, n, sizeof(parts[0]), order);
	for (size_t i = 0; i < n; i++)
		buf_addf(out, "%s%s", i ? ";" : "", parts[i]);
}

static void check(const struct kind *k, const struct row *r, const json_t *obj, const json_t *old)
{
	AUTO_ARENA struct arena a = {0};
	AUTO_BUF struct buf got = {0}, got_sorted = {0}, want = {0};
	struct causes c = {.arena = &a};
	int rc = api_validate(k, obj, old, "", &c);
	for (size_t i = 0; i < c.n; i++) {
		const char *reason = c.v[i].reason;
		buf_addf(&got, "%s%s %s", i ? ";" : "",
			strncmp(reason, "FieldValue", 10) == 0 ? reason + 10 : reason,
			c.v[i].field);
	}
	sorted(&a, buf_str(&got), &got_sorted);
	sorted(&a, str_of(r->causes), &want);
	buf_addc(&got_sorted, 0);
	buf_addc(&want, 0);
	assert_int_equal(rc == 0, c.n == 0);
	if (strcmp(got_sorted.p, want.p) == 0)
		return;
	for (size_t i = 0; i < c.n; i++)
		print_message("  %s: %s\n", c.v[i].field, c.v[i].message);
	fail_msg("%s %s %s:\n got  %s\n want %s", k->kind, r->update ? "update" : "create",
		r->patch, got_sorted.p, want.p);
}

static void run(void **state)
{
	const struct row *r = *state;
	const struct kind *k = NULL;
	json_t *base = NULL;
	for (; r->patch; r++) {
		if (r->kind) {
			k = kind_of(r->kind);
			json_decref(base);
			base = parse(r->base);
		}
		AUTO_JSON json_t *old = decode(k, base), *patch = parse(r->patch);
		AUTO_JSON json_t *changed = NULL, *obj = NULL;
		api_prepare_create(k, old, 1700000000LL * NS_PER_SEC);
		assert_int_equal(patch_merge(r->update ? old : base, patch, &changed, NULL), 0);
		obj = decode(k, changed);
		if (r->update)
			api_prepare_update(k, obj, old, "");
		check(k, r, obj, r->update ? old : NULL);
	}
	json_decref(base);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		{"storage", run, NULL, NULL, (void *)(uintptr_t)storage},
		{"quotas", run, NULL, NULL, (void *)(uintptr_t)quotas},
		{"rights", run, NULL, NULL, (void *)(uintptr_t)rights},
		{"admission", run, NULL, NULL, (void *)(uintptr_t)admission},
		{"network", run, NULL, NULL, (void *)(uintptr_t)network},
		{"flow", run, NULL, NULL, (void *)(uintptr_t)flow},
		{"scaling", run, NULL, NULL, (void *)(uintptr_t)scaling},
		{"devices", run, NULL, NULL, (void *)(uintptr_t)devices},
		{"pods", run, NULL, NULL, (void *)(uintptr_t)pods},
		{"work", run, NULL, NULL, (void *)(uintptr_t)work},
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
